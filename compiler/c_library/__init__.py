"""Libraries for C: the plan of a network and its kernels go in, a library and its header come out.

`names` says what things are called in C, `header` and `source` are its text but for what is the same for every network
(`runtime/c/network.c`), `library` compiles that and writes the folder.
"""
