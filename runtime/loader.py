"""How does object code get into this process?  Its sections are mapped, its relocations applied, its pages made executable.

This is what a linker does when a program starts, for the relocations that LLVM writes into position-independent code for
x86-64 (System V ABI, AMD64 supplement, sections 4.4 and 5.2). Loading a model with it takes no LLVM, which costs 40 MB and
25 milliseconds. Other architectures are linked by LLVM's JIT linker.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from typing import Mapping, Sequence

from .elf import Object, Relocation, read_object
from .errors import FormatError

_ABS64, _PC32, _PLT32, _GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX = 1, 2, 4, 9, 41, 42
_GOT = (_GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX)
_STUB = struct.Struct("<HiQ2x")  # jmp *(rip + 0), the address, padding
_JUMP = 0x25FF

ARCHITECTURES = ("x86_64",)  # whose relocations are known here


def load(images: Sequence[bytes], imports: Mapping[str, int]) -> tuple[mmap.mmap, dict[str, int]]:
    """(the memory, the addresses of what is defined in it) of `images`, relocatable objects for this machine, linked with each
    other, with `imports` (addresses by name), and with the functions that this process has.

    FormatError where an object is damaged, or needs what is nowhere. The code is unmapped with the memory.
    """
    try:
        return _Linker([read_object(image, f"object {i}") for i, image in enumerate(images)], imports).link()
    except (struct.error, KeyError) as error:
        raise FormatError(f"an object is damaged: {error!r}") from error


class _Linker:
    def __init__(self, objects: list[Object], imports: Mapping[str, int]):
        self.objects = objects
        self.imports = imports
        self.starts: dict[tuple[int, int], int] = {}  # (object, section) -> offset
        self.defined: dict[str, tuple[int, int, int]] = {}  # name -> (object, section, offset in it)
        for number, found in enumerate(objects):
            for symbol in found.symbols:
                if symbol.is_global and symbol.section:
                    self.defined.setdefault(symbol.name, (number, symbol.section, symbol.value))

    def link(self) -> tuple[mmap.mmap, dict[str, int]]:
        code = self._place(0, lambda s: s.is_code)
        external = {s.name: None for found in self.objects for s in found.symbols
                    if s.is_global and not s.section and s.name and s.name not in self.defined}
        self.stubs = {name: code + _STUB.size * i for i, name in enumerate(external)}
        read_only = _page(code + _STUB.size * len(external))
        end = self._place(read_only, lambda s: not s.is_code and not s.is_written)
        slots = {(number, r.symbol): None for number, _, r in self._relocations() if r.kind in _GOT}
        first = -(-end // 8) * 8
        self.slots = {key: first + 8 * i for i, key in enumerate(slots)}
        written = _page(first + 8 * len(slots))
        size = max(mmap.PAGESIZE, _page(self._place(written, lambda s: s.is_written)))
        self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.addresses = {name: self._external(name) for name in external}
        for (number, section), start in self.starts.items():
            data = self.objects[number].sections[section].data
            self.memory[start:start + len(data)] = data
        for name, start in self.stubs.items():
            _STUB.pack_into(self.memory, start, _JUMP, 0, self.addresses[name])
        for (number, symbol), start in self.slots.items():
            struct.pack_into("<Q", self.memory, start, self._address(number, symbol))
        for number, section, relocation in self._relocations():
            self._apply(number, self.starts[number, section], relocation)
        self._protect(0, read_only, mmap.PROT_READ | mmap.PROT_EXEC)
        self._protect(read_only, written, mmap.PROT_READ)
        places = {name: self.base + self.starts[number, section] + value
                  for name, (number, section, value) in self.defined.items()}
        return self.memory, places

    def _place(self, at: int, belongs) -> int:
        """Give the sections that `belongs` says to their places from `at` on; where they end."""
        for number, found in enumerate(self.objects):
            for index, section in found.sections.items():
                if belongs(section):
                    at = -(-at // section.alignment) * section.alignment
                    self.starts[number, index] = at
                    at += section.size
        return at

    def _relocations(self):
        for number, found in enumerate(self.objects):
            for index, section in found.sections.items():
                for relocation in section.relocations:
                    yield number, index, relocation

    def _external(self, name: str) -> int:
        """The address of a function that no object defines."""
        if name in self.imports:
            return self.imports[name]
        try:
            return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value
        except AttributeError:
            raise FormatError(f"the code calls {name!r}, which is not in this process") from None

    def _address(self, number: int, index: int) -> int:
        """The address of symbol number `index` of an object."""
        symbol = self.objects[number].symbols[index]
        if symbol.is_global and symbol.name in self.defined:
            number, section, value = self.defined[symbol.name]
            return self.base + self.starts[number, section] + value
        if symbol.section:
            return self.base + self.starts[number, symbol.section] + symbol.value
        return self.addresses[symbol.name]

    def _apply(self, number: int, start: int, relocation: Relocation) -> None:
        kind, place = relocation.kind, start + relocation.offset
        symbol = self.objects[number].symbols[relocation.symbol]
        if kind in _GOT:
            target = self.base + self.slots[number, relocation.symbol]
        elif kind == _PLT32 and not symbol.section and symbol.name in self.stubs:
            target = self.base + self.stubs[symbol.name]
        else:
            target = self._address(number, relocation.symbol)
        if kind == _ABS64:
            struct.pack_into("<Q", self.memory, place, target + relocation.addend)
        elif kind in (_PC32, _PLT32, *_GOT):
            distance = target + relocation.addend - (self.base + place)
            struct.pack_into("<i", self.memory, place, distance)
        else:
            raise FormatError(f"an object has a relocation of kind {kind}, which no loader is written for")

    def _protect(self, begin: int, end: int, rights: int) -> None:
        if end > begin and ctypes.CDLL(None, use_errno=True).mprotect(
                ctypes.c_void_p(self.base + begin), ctypes.c_size_t(end - begin), rights):
            raise OSError(ctypes.get_errno(), "the system does not let this process run new code (mprotect)")


def _page(at: int) -> int:
    return -(-at // mmap.PAGESIZE) * mmap.PAGESIZE
