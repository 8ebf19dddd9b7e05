"""How sparse matrices lie on a GPU: encoded on the host for kernels that take them in order; each can be decoded again."""
