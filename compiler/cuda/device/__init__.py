"""A GPU through NVIDIA's driver: memory, streams, graphs, launches, and tensors that lie on it. Nothing here knows of zeros."""
