"""Do the pages of a mapped file come and go, and are its numbers what they were?"""

import mmap

import numpy as np
import pytest

from lamina.compiler.core.mapped import _pages, read_once
from lamina.compiler.ops.pack import Unpack


def resident_bytes(mapping: mmap.mmap) -> int:
    """Bytes of the mapping that are in this process's memory, by /proc."""
    address = f"{np.frombuffer(mapping, np.uint8).ctypes.data:x}-"
    lines = iter(open("/proc/self/smaps").read().splitlines())
    for line in lines:
        if line.startswith(address):
            return next(int(rest.split()[1]) * 1024 for rest in lines if rest.startswith("Rss:"))
    raise AssertionError("the mapping is not there")


@pytest.fixture
def mapped(tmp_path):
    """A file of 4 MiB whose numbers begin at an odd address."""
    numbers = np.arange(1 << 20, dtype=np.float32)
    path = tmp_path / "weights"
    path.write_bytes(b"x" + numbers.tobytes())
    with open(path, "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return mapping, np.frombuffer(mapping, np.uint8)[1:].view(np.float32), numbers


def test_pages_are_there_while_they_are_read_and_go_behind_it(mapped):
    mapping, array, numbers = mapped
    with read_once(array):
        np.testing.assert_array_equal(array, numbers)
        assert resident_bytes(mapping) >= array.nbytes
    assert resident_bytes(mapping) <= 4 * mmap.PAGESIZE
    np.testing.assert_array_equal(array[::7], numbers[::7])  # they come back


def test_what_lies_in_no_file_stays():
    array = np.arange(5000.0)
    assert _pages(array) is None and _pages(np.frombuffer(bytes(8192), np.uint8)) is None
    with read_once(array):
        pass
    np.testing.assert_array_equal(array, np.arange(5000.0))


def test_weights_are_packed_from_where_they_lie(mapped):
    mapping, array, numbers = mapped
    for shape, letters, column in (((1021, 1027), "kn", "n"), ((1021, 1027), "nk", "n"), ((3, 3, 113, 1031), "rsco", "o")):
        count = int(np.prod(shape))
        op = Unpack(shape, shape, letters, "", letters.replace(column, ""), column, 48)
        packed = op.pack(array[:count].reshape(shape))
        assert packed.flags.aligned and packed.ctypes.data % 64 == 0
        np.testing.assert_array_equal(op.reference(packed), numbers[:count].reshape(shape))
    assert resident_bytes(mapping) <= 4 * mmap.PAGESIZE
