"""What the linker of flat images must know of a processor: how its relocations patch code, how far its code may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsec.errors import ToolchainError


@dataclass(frozen=True, slots=True)
class Place:
    """A relocation at image offset `at`, for `symbol` at image offset `target` (None: it is external)."""

    at: int
    kind: int
    symbol: str
    target: int | None
    addend: int


@dataclass(frozen=True, slots=True)
class Machine:
    """How one processor is linked: `relocate(image, place, stub, slot)` patches; `stub(at, slot)` jumps via a slot.

    `stub` and `slot` are image offsets of the symbol's stub and import slot, None if the symbol is in the image. `number`
    is ELF's of the processor, `page` the largest page that its systems use: the image is mapped at a multiple of it.
    """

    number: int
    relocate: Callable[[bytearray, Place, int | None, int | None], None]
    stub: Callable[[int, int], bytes]
    stub_bytes: int
    page: int


def absolute(place: Place, name: str) -> ToolchainError:
    """The refusal of a relocation that wants more than distances."""
    return ToolchainError(
        "The code needs an address that is only known after loading.",
        where=place.symbol or "a constant",
        got=f"relocation {name}",
    )


def write_distance(image: bytearray, place: Place, target: int, size: int) -> None:
    """Store how far `target` is, as `size` bytes; raises `OverflowError` if that is too far."""
    distance = target + place.addend - place.at
    image[place.at : place.at + size] = distance.to_bytes(size, "little", signed=True)
