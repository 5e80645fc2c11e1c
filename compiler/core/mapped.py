"""How are weights read that lie in a memory-mapped file?  Their pages come all at once, and go when the weights have been copied."""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from typing import Iterator

import numpy as np

_POPULATE_READ = 22  # Linux 5.14's MADV_POPULATE_READ: many pages for the price of one fault


@contextmanager
def read_once(array: np.ndarray) -> Iterator[None]:
    """Inside the block `array` is read; behind it the pages of the file that hold it need no memory any more.

    They come back where they are touched again. Nothing happens for arrays that lie in no mapped file.
    """
    found = _pages(array)
    if found is None:
        yield
        return
    mapping, start, length = found
    _advise(mapping, _POPULATE_READ, start, length)
    try:
        yield
    finally:
        _advise(mapping, getattr(mmap, "MADV_DONTNEED", None), start, length)


def _pages(array: np.ndarray) -> tuple[mmap.mmap, int, int] | None:
    """(mapping, first byte, bytes) of the pages that lie wholly inside `array`."""
    base = array
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if not isinstance(base, mmap.mmap) or not hasattr(base, "madvise"):
        return None
    low, high = np.lib.array_utils.byte_bounds(array)
    origin = np.frombuffer(base, np.uint8).ctypes.data
    first = -(-(low - origin) // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (high - origin) // mmap.PAGESIZE * mmap.PAGESIZE
    return (base, first, last - first) if first < last else None


def _advise(mapping: mmap.mmap, advice: int | None, start: int, length: int) -> None:
    try:
        if advice is not None:
            mapping.madvise(advice, start, length)
    except OSError:
        pass  # advice that this system does not know
