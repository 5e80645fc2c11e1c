"""How do constants become object code, and which symbols has an object?  64-bit little-endian ELF (System V ABI, chapters 4 and 5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from .errors import FormatError, UnsupportedError
from .tensors import array_bytes

ALIGNMENT = 64
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_MACHINES = {"x86_64": 62, "aarch64": 183}
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_ALLOC, _LARGE = 2, 0x10000000  # SHF_ALLOC, SHF_X86_64_LARGE
_GLOBAL_OBJECT, _HIDDEN = 1 << 4 | 1, 2
#: From here on x86-64 data goes to .lrodata, which linkers keep out of the 2 GiB that code reaches by 32-bit offsets.
LARGE = 1 << 30


def constant_offsets(constants: Sequence[np.ndarray]) -> list[int]:
    """Where each constant begins in the data that `write_constants` makes, in bytes."""
    offsets, at = [], 0
    for array in constants:
        offsets.append(at)
        at += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    return offsets


def write_constants(file, architecture: str, symbol: str, constants: Sequence[np.ndarray], large: int = LARGE) -> None:
    """Write an object whose read-only data are `constants`, each at a multiple of 64 bytes, and whose one (hidden) symbol is theirs.

    Assemblers take seconds for what is a copy here, and hold it in memory several times.
    """
    if architecture not in _MACHINES:
        raise UnsupportedError(f"no object files are written for {architecture}", hint="there are " + ", ".join(_MACHINES))
    size = max(ALIGNMENT, sum(-(-c.nbytes // ALIGNMENT) * ALIGNMENT for c in constants))
    is_large = architecture == "x86_64" and size >= large
    name = ".lrodata" if is_large else ".rodata"
    sections = b"\0" + b"".join(n.encode() + b"\0" for n in (name, ".note.GNU-stack", ".symtab", ".strtab", ".shstrtab"))
    strings = b"\0" + symbol.encode() + b"\0"
    symbols = bytes(_SYMBOL.size) + _SYMBOL.pack(1, _GLOBAL_OBJECT, _HIDDEN, 1, 0, size)
    at_data = ALIGNMENT
    at_symbols = at_data + size
    at_strings = at_symbols + len(symbols)
    at_names = at_strings + len(strings)
    at_sections = -(-(at_names + len(sections)) // 8) * 8

    def section(title: str, kind: int, flags: int, offset: int, length: int, link: int = 0, info: int = 0, align: int = 1, entry: int = 0):
        return _SECTION.pack(sections.index(b"\0" + title.encode() + b"\0") + 1, kind, flags, 0, offset, length, link, info, align, entry)
    file.write(_HEADER.pack(b"\x7fELF\2\1\1".ljust(16, b"\0"), 1, _MACHINES[architecture], 1, 0, 0, at_sections, 0, _HEADER.size, 0, 0,
                            _SECTION.size, 6, 5))
    written = 0
    for array in constants:
        data = array_bytes(array)
        file.write(data)
        padding = -len(data) % ALIGNMENT
        file.write(bytes(padding))
        written += len(data) + padding
    file.write(bytes(size - written))
    file.write(symbols + strings + sections + bytes(at_sections - at_names - len(sections)))
    file.write(bytes(_SECTION.size))
    file.write(section(name, _PROGBITS, _ALLOC | (_LARGE if is_large else 0), at_data, size, align=ALIGNMENT))
    file.write(section(".note.GNU-stack", _PROGBITS, 0, at_symbols, 0))  # the stack need not be executable
    file.write(section(".symtab", _SYMTAB, 0, at_symbols, len(symbols), link=4, info=1, align=8, entry=_SYMBOL.size))
    file.write(section(".strtab", _STRTAB, 0, at_strings, len(strings)))
    file.write(section(".shstrtab", _STRTAB, 0, at_names, len(sections)))


@dataclass(frozen=True)
class Symbols:
    """The global symbols of an object: those that it defines, and those that it needs."""

    defined: tuple[str, ...]
    undefined: tuple[str, ...]


def read_symbols(image, what: str = "the object") -> Symbols:
    """The global symbols of a relocatable object; `image` is any buffer. FormatError where it is none."""
    try:
        header = _HEADER.unpack_from(image, 0)
        if bytes(image[:6]) != b"\x7fELF\2\1" or header[1] != 1:
            raise FormatError(f"{what} is no 64-bit little-endian ELF object")
        rows = [_SECTION.unpack_from(image, header[6] + i * header[11]) for i in range(header[12])]
        defined, undefined = {}, {}
        for _, kind, _, _, offset, length, link, first_global, _, _ in rows:
            if kind != _SYMTAB:
                continue
            names, count = rows[link][4], length // _SYMBOL.size
            for i in range(first_global, count):
                name, _, _, section, _, _ = _SYMBOL.unpack_from(image, offset + i * _SYMBOL.size)
                begin = names + name
                text = bytes(image[begin:begin + 512]).split(b"\0")[0].decode()
                (defined if section else undefined)[text] = None
        return Symbols(tuple(defined), tuple(undefined))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise FormatError(f"{what} is damaged: {error}") from error
