"""Benchmarks, and the network of the demo. Not part of the installed package."""
