"""Link relocatable WebAssembly objects into one module with a memory of a known plan.

Addresses are final: whoever links has placed everything but the objects' own constants, and says where those go. A
function that no object defines becomes an import, of the module `math` unless whoever links knows better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparsec.errors import ToolchainError
from sparsec.targets import wasm_binary as wasm
from sparsec.targets import wasm_memory, wasm_object
from sparsec.targets.wasm_memory import PAGE, Segment
from sparsec.targets.wasm_object import FUNCTION, GLOBAL, Part, Relocation, WasmObject, take_apart

MATH = "math"  # the module that functions are imported from
STACK_POINTER = "stack_pointer"
_I32, _FUNCTION, _MEMORY, _GLOBAL, _MUTABLE = 0x7F, 0, 2, 3, 1
_TYPE, _IMPORT, _FUNCTIONS, _MEMORIES, _GLOBALS, _EXPORTS, _COUNT, _CODE, _DATA = 1, 2, 3, 5, 6, 7, 12, 10, 11
_ORDER = (_TYPE, _IMPORT, _FUNCTIONS, _MEMORIES, _GLOBALS, _EXPORTS, _COUNT, _CODE, _DATA)


@dataclass(frozen=True, slots=True)
class Module:
    """A linked module, whose memory has at least so many pages."""

    content: bytes
    pages: int


def undefined(objects: Sequence[bytes]) -> frozenset[str]:
    """Names of the functions that `objects` call and do not define."""
    symbols = [symbol for data in objects for symbol in take_apart(data).symbols if symbol.kind == FUNCTION]
    return frozenset(each.name for each in symbols) - {each.name for each in symbols if each.defined}


def link(
    objects: Sequence[bytes],
    *,
    stack_top: int,
    constants: int,
    exports: Sequence[str],
    segments: Sequence[Segment] = (),
    shared: bool = False,
    hosts: Mapping[str, str] | None = None,
) -> Module:
    """Return a module that exports `memory` and the functions `exports`.

    The stack grows down from `stack_top`; the objects' own data follows `constants`, the first free address after all
    else; `segments` fill memory beside it; `hosts` has modules to import functions from. With `shared`, the memory is
    the host's: each instance but one sets its exported global `stack_pointer`, and that one calls the export
    `initialise` first. Raises `ToolchainError`.
    """
    linker = _Linker([take_apart(data) for data in objects], constants, hosts or {})
    return linker.shared(stack_top, exports, segments) if shared else linker.alone(stack_top, exports, segments)


class _Linker:
    def __init__(self, objects: list[WasmObject], constants: int, hosts: Mapping[str, str]) -> None:
        self._objects = objects
        self._hosts = hosts
        self._types: dict[bytes, int] = {}
        self._imports: dict[str, int] = {}  # name -> number of its type
        self._functions: dict[tuple[int, int], int] = {}  # (object, own number) -> number among the defined
        self._defined: dict[str, int] = {}
        self._addresses: dict[tuple[int, int], int] = {}  # (object, segment) -> address
        self._end = constants
        for number, each in enumerate(objects):
            self._place(number, each)
        for each in objects:
            self._find_imports(each)

    def _place(self, number: int, each: WasmObject) -> None:
        for own in range(len(each.functions)):
            self._functions[number, len(each.imported) + own] = len(self._functions)
        for symbol in each.symbols:
            if symbol.kind == FUNCTION and symbol.defined and not symbol.local:
                if symbol.name in self._defined:
                    raise ToolchainError("Two objects define the same function.", where=symbol.name)
                self._defined[symbol.name] = self._functions[number, symbol.index]
        for own, segment in enumerate(each.segments):
            self._end += -self._end % segment.alignment
            self._addresses[number, own] = self._end
            self._end += len(segment.content)

    def _find_imports(self, each: WasmObject) -> None:
        for symbol in each.symbols:
            if symbol.kind == FUNCTION and not symbol.defined and symbol.name not in self._defined:
                self._imports.setdefault(symbol.name, self._type(each.types[each.imported[symbol.index]]))

    def _type(self, kind: bytes) -> int:
        return self._types.setdefault(kind, len(self._types))

    def alone(self, stack_top: int, exports: Sequence[str], segments: Sequence[Segment]) -> Module:
        """A module with a memory of its own."""
        pages, data = self._pages(segments), self._data(segments)
        memory = wasm.vector([wasm_memory.own_memory(pages)])
        sections = {
            **self._sections(stack_top),
            _MEMORIES: memory,
            _EXPORTS: wasm.vector(self._exports(exports)),
            _DATA: wasm.vector([wasm_memory.active(each) for each in data]),
        }
        return Module(self._joined(sections), pages)

    def shared(self, stack_top: int, exports: Sequence[str], segments: Sequence[Segment]) -> Module:
        """A module for a memory of the host's."""
        pages, data = self._pages(segments), self._data(segments)
        self._objects.append(wasm_memory.initialiser(data))
        self._place(len(self._objects) - 1, self._objects[-1])
        stack_pointer = wasm.name(STACK_POINTER) + bytes([_GLOBAL, 0])
        exported = [*self._exports([*exports, wasm_memory.INITIALISE]), stack_pointer]
        sections = {
            **self._sections(stack_top),
            _IMPORT: wasm.vector([wasm_memory.shared_memory(pages), *self._imported()]),
            _EXPORTS: wasm.vector(exported),
            _COUNT: wasm.unsigned(len(data)),
            _DATA: wasm.vector([wasm_memory.passive(each) for each in data]),
        }
        return Module(self._joined(sections), pages)

    def _joined(self, sections: Mapping[int, bytes]) -> bytes:
        """The module of sections by number."""
        names = wasm.custom("name", self._names())
        return b"".join(
            [wasm.HEADER, *(wasm.section(each, sections[each]) for each in _ORDER if each in sections), names]
        )

    def _sections(self, stack_top: int) -> dict[int, bytes]:
        """Those that do not depend on whose the memory is."""
        functions = [wasm.unsigned(self._type(each.types[kind])) for each in self._objects for kind in each.functions]
        bodies = [self._patched(body, n) for n, each in enumerate(self._objects) for body in each.bodies]
        stack_pointer = bytes([_I32, _MUTABLE, 0x41]) + wasm.signed(stack_top) + b"\x0b"
        return {
            _TYPE: wasm.vector(list(self._types)),
            _IMPORT: wasm.vector(self._imported()),
            _FUNCTIONS: wasm.vector(functions),
            _GLOBALS: wasm.vector([stack_pointer]),
            _CODE: wasm.vector(bodies),
        }

    def _imported(self) -> list[bytes]:
        return [
            wasm.name(self._hosts.get(name, MATH)) + wasm.name(name) + bytes([_FUNCTION]) + wasm.unsigned(kind)
            for name, kind in self._imports.items()
        ]

    def _exports(self, names: Sequence[str]) -> list[bytes]:
        missing = [name for name in names if name not in self._defined]
        if missing:
            raise ToolchainError("The object files do not define an entry.", expected=", ".join(missing))
        functions = [
            wasm.name(name) + bytes([_FUNCTION]) + wasm.unsigned(len(self._imports) + self._defined[name])
            for name in names
        ]
        return [wasm.name("memory") + bytes([_MEMORY, 0]), *functions]

    def _pages(self, segments: Sequence[Segment]) -> int:
        end = max([self._end, *(segment.address + len(segment.content) for segment in segments)])
        if end > 2**32 - PAGE:
            raise ToolchainError(
                "The network does not fit the memory of a WebAssembly module.",
                expected="less than 4 GiB",
                got=f"{end} bytes",
            )
        return -(-end // PAGE)

    def _data(self, segments: Sequence[Segment]) -> list[Segment]:
        """`segments` and the objects' own; empty ones left out."""
        own = [
            Segment(self._addresses[number, own], self._patched(part, number))
            for number, each in enumerate(self._objects)
            for own, part in enumerate(each.segments)
        ]
        return [segment for segment in (*segments, *own) if segment.content]

    def _patched(self, part: Part, number: int) -> bytes:
        content = bytearray(part.content)
        for place in part.relocations:
            value = self._value(place, number)
            match place.kind:
                case wasm_object.MEMORY_ADDR_I32:
                    patch = value.to_bytes(4, "little")
                case wasm_object.MEMORY_ADDR_SLEB:  # the constant of an instruction, and so signed
                    patch = wasm.signed(value - (value >> 31 << 32), width=5)
                case _:
                    patch = wasm.unsigned(value, width=5)
            content[place.at : place.at + len(patch)] = patch
        return bytes(content)

    def _value(self, place: Relocation, number: int) -> int:
        owner = self._objects[number]
        if place.kind == wasm_object.TYPE_INDEX_LEB:
            return self._type(owner.types[place.index])
        symbol = owner.symbols[place.index]
        match place.kind:
            case wasm_object.FUNCTION_INDEX_LEB:
                return self._function(number, place.index)
            case wasm_object.GLOBAL_INDEX_LEB:  # the stack pointer is the only one
                assert symbol.kind == GLOBAL
                return 0
            case _:
                return self._addresses[number, symbol.index] + symbol.offset + place.addend

    def _function(self, number: int, index: int) -> int:
        symbol = self._objects[number].symbols[index]
        if symbol.defined:
            return len(self._imports) + self._functions[number, symbol.index]
        if symbol.name in self._defined:
            return len(self._imports) + self._defined[symbol.name]
        return list(self._imports).index(symbol.name)

    def _names(self) -> bytes:
        """The subsection with the names of functions: what profilers and traces show."""
        numbered = dict(enumerate(self._imports))
        for number, each in enumerate(self._objects):
            for symbol in each.symbols:
                if symbol.kind == FUNCTION and symbol.defined:
                    numbered[len(self._imports) + self._functions[number, symbol.index]] = symbol.name
        return wasm.section(1, wasm.vector([wasm.unsigned(key) + wasm.name(numbered[key]) for key in sorted(numbered)]))
