"""Formats of weights: an array or a `Coo` goes in, what a kernel reads comes out.

One file per format; `facts` says what is known of a weight's zeros. NumPy only.
"""
