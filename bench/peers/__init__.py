"""Engines that the compiled layer is raced against.

A layer goes into each engine of `table.PEERS`; out comes a contestant that `race` calls in turns with the others.
"""
