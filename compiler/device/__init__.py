"""Whole models for GPUs: compiled to plans of steps without a GPU, and run on one."""
