"""How do constants become object code?  As the read-only data of an ELF object (System V ABI, chapters 4 and 5)."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from .elf import ALLOC, HEADER, PROGBITS, SECTION, STRTAB, SYMBOL, SYMTAB
from .errors import UnsupportedError
from .tensors import array_bytes

ALIGNMENT = 64
_MACHINES = {"x86_64": 62, "aarch64": 183}
_LARGE_FLAG = 0x10000000  # SHF_X86_64_LARGE
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
    symbols = bytes(SYMBOL.size) + SYMBOL.pack(1, _GLOBAL_OBJECT, _HIDDEN, 1, 0, size)
    at_data = ALIGNMENT
    at_symbols = at_data + size
    at_strings = at_symbols + len(symbols)
    at_names = at_strings + len(strings)
    at_sections = -(-(at_names + len(sections)) // 8) * 8

    def section(title: str, kind: int, flags: int, offset: int, length: int, link: int = 0, info: int = 0, align: int = 1, entry: int = 0):
        return SECTION.pack(sections.index(b"\0" + title.encode() + b"\0") + 1, kind, flags, 0, offset, length, link, info, align, entry)
    file.write(HEADER.pack(b"\x7fELF\2\1\1".ljust(16, b"\0"), 1, _MACHINES[architecture], 1, 0, 0, at_sections, 0, HEADER.size, 0, 0,
                            SECTION.size, 6, 5))
    written = 0
    for array in constants:
        data = array_bytes(array)
        file.write(data)
        padding = -len(data) % ALIGNMENT
        file.write(bytes(padding))
        written += len(data) + padding
    file.write(bytes(size - written))
    file.write(symbols + strings + sections + bytes(at_sections - at_names - len(sections)))
    file.write(bytes(SECTION.size))
    file.write(section(name, PROGBITS, ALLOC | (_LARGE_FLAG if is_large else 0), at_data, size, align=ALIGNMENT))
    file.write(section(".note.GNU-stack", PROGBITS, 0, at_symbols, 0))  # the stack need not be executable
    file.write(section(".symtab", SYMTAB, 0, at_symbols, len(symbols), link=4, info=1, align=8, entry=SYMBOL.size))
    file.write(section(".strtab", STRTAB, 0, at_strings, len(strings)))
    file.write(section(".shstrtab", STRTAB, 0, at_names, len(sections)))
