"""Measuring on this machine: roofs, and candidates of layers.

A model goes in; rows of the database of measurements come out. `search` decides what to measure and knows no machine;
a `Measurer` (`local`: this process) measures.
"""
