"""What things are called in C: names that no keyword, header or function of its library has."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sparsec.artifact import TensorSpec

# Words of C and C++, and macros of their libraries and compilers, that no name may be.
_TAKEN = """
 alignas alignof and asm auto bool break case catch char class const continue default delete do double else enum explicit
 export extern false float for friend goto if inline int long main mutable namespace new not operator or private protected
 public register restrict return short signed sizeof static struct switch template this throw true try typedef typeid
 typename union unsigned using virtual void volatile while xor
 errno linux stderr stdin stdout unix EOF NULL
"""
# Functions and headers of the C library and of the runtime core, which a network may not be named after, either.
_DECLARED = """
 abort abs accept access acos alarm asin assert atan bind brk calloc cbrt ceil checksum clock clone close complex connect
 context core cos cosh creat ctime ctype daemon dirname div dup erf erfc exit exp fabs fcntl fdim fenv float floor fma fmax
 fmin fmod fork free frexp gamma getline half hypot import index inttypes ioctl kill ldexp limits link listen locale log
 malloc math memory mmap modf mq narrow nice open pause pipe poll pool pow printf processors pthread puts qsort raise rand
 random read recv remove rename rewind rint round scanf seat select sem semaphore send shm signal sin sinh sleep socket
 sqrt stat stdarg stdint stdio stdlib string strings sync syscall system take tan tanh tgamma threads time times trunc
 truncate uname unistd unlink wait wchar when widened work worker write y0 y1 yn j0 j1 jn
"""


def identifier(name: str) -> str:
    """A name of C for a name of anything."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "tensor"
    return f"{word}_" if word in _TAKEN.split() else f"_{word}" if word[0].isdigit() else word


def network_name(plan_name: str) -> str:
    """How the library and everything in it is named."""
    word = identifier(plan_name.lower())
    taken = word in _DECLARED.split() or word.startswith("sparsec")
    return f"net{word}" if word.startswith("_") else f"net_{word}" if taken else word


def kernel_prefix(plan_name: str) -> str:
    """What symbols of the kernels of a network begin with, so that they meet those of no other network."""
    return f"{network_name(plan_name)}_entry"


def members(specs: Sequence[TensorSpec]) -> list[str]:
    """Members of a struct of tensors, each once."""
    names: list[str] = []
    for spec in specs:
        name = stem = identifier(spec.name)
        while name in names:
            name = f"{stem}_{len(names)}"
        names.append(name)
    return names
