"""What is in an object file?  Sections, symbols and relocations of 64-bit little-endian ELF (System V ABI, chapter 4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .errors import FormatError

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")
PROGBITS, SYMTAB, STRTAB, RELA, NOBITS = 1, 2, 3, 4, 8
WRITE, ALLOC, EXECINSTR = 1, 2, 4  # SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR


@dataclass(frozen=True)
class Symbol:
    """A symbol of an object: `value` is its offset in the section of number `section`; 0 stands for a symbol of elsewhere."""

    name: str
    section: int
    value: int
    is_global: bool


@dataclass(frozen=True)
class Relocation:
    """At `offset` of a section belongs what `kind` makes of the address of symbol number `symbol` and the `addend`."""

    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass(frozen=True)
class Section:
    """What is loaded of an object: `data`, and zeros up to `size`."""

    data: memoryview
    size: int
    alignment: int
    is_code: bool
    is_written: bool
    relocations: tuple[Relocation, ...]


@dataclass(frozen=True)
class Object:
    """A relocatable object: the sections that are loaded, by number, and all symbols, by number."""

    sections: dict[int, Section]
    symbols: tuple[Symbol, ...]

    @property
    def defined(self) -> tuple[str, ...]:
        """The names of the global symbols that are in it."""
        return tuple(dict.fromkeys(s.name for s in self.symbols if s.is_global and s.section))

    @property
    def undefined(self) -> tuple[str, ...]:
        """The names of the global symbols that it needs."""
        return tuple(dict.fromkeys(s.name for s in self.symbols if s.is_global and not s.section and s.name))


def read_object(image, what: str = "the object") -> Object:
    """The parts of a relocatable object; `image` is any buffer. FormatError where it is none."""
    view = memoryview(image)
    try:
        header = HEADER.unpack_from(image, 0)
        if bytes(image[:6]) != b"\x7fELF\2\1" or header[1] != 1:
            raise FormatError(f"{what} is no 64-bit little-endian ELF object")
        rows = [SECTION.unpack_from(image, header[6] + i * header[11]) for i in range(header[12])]
        symbols: list[Symbol] = []
        relocations: dict[int, list[Relocation]] = {}
        for _, kind, _, _, offset, length, link, info, _, _ in rows:
            if kind == SYMTAB:
                symbols = [_read_symbol(image, offset + i * SYMBOL.size, rows[link][4], i >= info)
                           for i in range(length // SYMBOL.size)]
            elif kind == RELA:
                relocations[info] = [Relocation(at, word & 0xFFFFFFFF, word >> 32, addend) for at, word, addend in
                                     RELOCATION.iter_unpack(image[offset:offset + length])]
        sections = {}
        for i, (_, kind, flags, _, offset, length, _, _, alignment, _) in enumerate(rows):
            if flags & ALLOC and length:
                data = view[0:0] if kind == NOBITS else view[offset:offset + length]
                if kind != NOBITS and len(data) != length:
                    raise FormatError(f"{what} is cut short")
                sections[i] = Section(data, length, max(1, alignment), bool(flags & EXECINSTR), bool(flags & WRITE),
                                      tuple(relocations.get(i, ())))
        return Object(sections, tuple(symbols))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise FormatError(f"{what} is damaged: {error}") from error


def _read_symbol(image, at: int, names: int, is_global: bool) -> Symbol:
    name, _, _, section, value, _ = SYMBOL.unpack_from(image, at)
    begin = names + name
    return Symbol(bytes(image[begin:begin + 512]).split(b"\0")[0].decode() if name else "", section, value, is_global)
