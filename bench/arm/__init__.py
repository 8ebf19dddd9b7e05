"""ARM: compiled networks go to a file that `runner.c` reads, on a board or in QEMU; outputs, counts and times come back."""
