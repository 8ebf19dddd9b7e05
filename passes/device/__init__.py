"""Passes for GPUs: what follows once layers are formed, up to kernels over threads and a list of steps."""
