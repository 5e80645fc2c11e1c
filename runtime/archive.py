"""How are objects put into a static library?  A System V `ar` archive with an index of symbols, as every ELF linker reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from .atomic import written_whole
from .elf import read_object
from .errors import UnsupportedError

_LIMIT = 1 << 32  # the index holds 32-bit offsets


def write_archive(path, objects: Sequence[Path]) -> None:
    """Write the object files `objects` to the static library `path`, whole or not at all. It needs no tool."""
    long_names = b"".join(o.name.encode() + b"/\n" for o in objects)
    symbols: list[tuple[str, int]] = []  # name, number of the object
    for number, path_of in enumerate(objects):
        symbols += ((name, number) for name in read_object(_read(path_of), path_of.name).defined)
    names = b"".join(name.encode() + b"\0" for name, _ in symbols)
    index_bytes = 4 + 4 * len(symbols) + len(names)
    at = 8 + 60 + _even(index_bytes) + 60 + _even(len(long_names))
    starts = []
    for o in objects:
        starts.append(at)
        at += 60 + _even(o.stat().st_size)
    if at > _LIMIT:
        raise UnsupportedError(f"a static library of {at:,} bytes is more than its index can point at (4 GiB)", hint="build a .so or a .o")
    with written_whole(path, durable=False) as file:
        file.write(b"!<arch>\n" + _header("/", index_bytes) + len(symbols).to_bytes(4, "big"))
        file.write(b"".join(starts[number].to_bytes(4, "big") for _, number in symbols) + names + b"\0" * (index_bytes & 1))
        file.write(_header("//", len(long_names)) + long_names + b"\n" * (len(long_names) & 1))
        at_name = 0
        for o in objects:
            size = o.stat().st_size
            file.write(_header(f"/{at_name}", size))
            file.write(_read(o))
            file.write(b"\n" * (size & 1))
            at_name += len(o.name.encode()) + 2


def _read(path: Path):
    import mmap
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _header(name: str, size: int) -> bytes:
    """A member's header, with no time and no owner in it: equal objects give equal archives."""
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{'644':<8}{size:<10}`\n".encode()


def _even(size: int) -> int:
    return size + (size & 1)
