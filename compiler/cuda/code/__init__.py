"""The kernels, CUDA C++: macros and an architecture go in, machine code comes out (NVRTC), kept on disk between runs."""
