"""How are arrays in files mapped into memory?  NumPy's formats, MNIST's and CIFAR's: nothing is read before it is used.

What these give are read-only arrays (np.memmap), or dicts of them. Compressed files can't be mapped and are read whole.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zipfile
from pathlib import Path
from typing import Mapping

import numpy as np

from ...compiler.core.errors import FormatError, LaminaError

_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CIFAR_IMAGE = (3, 32, 32)


def existing(path) -> Path:
    """`path` as a file that is there; LaminaError where it is not."""
    path = Path(path)
    if not path.is_file():
        raise LaminaError(f"there is no file {os.fspath(path)!r}")
    return path


def npy(path) -> np.ndarray:
    """The array in a .npy file."""
    path = existing(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(f"{path} is no .npy file that can be mapped: {error}") from error


def npz(path) -> Mapping[str, np.ndarray]:
    """The arrays in a .npz file by name: mapped where np.savez wrote them, read where np.savez_compressed did."""
    path = existing(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {m.filename.removesuffix(".npy"): _member(path, archive, m) for m in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, EOFError, struct.error) as error:
        raise FormatError(f"{path} is no .npz file that can be read: {error}") from error


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        with archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)  # the local header: 30 bytes, the name, the extra field
        name_length, extra_length = struct.unpack("<HH", file.read(4))
        file.seek(member.header_offset + 30 + name_length + extra_length)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects")
        if not math.prod(shape):
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if is_fortran else "C")


def idx(path) -> np.ndarray:
    """The array in an IDX file, the format of MNIST: two zeros, a code of the dtype, the rank, the extents (big endian
    int32), the elements. A .gz file is read whole."""
    path = existing(path)
    raw = np.frombuffer(_unzipped(path), np.uint8) if path.suffix == ".gz" else _bytes(path)
    if len(raw) < 4 or raw[0] or raw[1] or int(raw[2]) not in _IDX_DTYPES or len(raw) < 4 + 4 * int(raw[3]):
        raise FormatError(f"{path} is no IDX file: it begins with {bytes(raw[:4]).hex(' ') or 'nothing'}")
    start = 4 + 4 * int(raw[3])
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start].tobytes(), ">i4"))
    dtype = np.dtype(_IDX_DTYPES[int(raw[2])])
    wanted = math.prod(shape) * dtype.itemsize
    if len(raw) - start != wanted:
        raise FormatError(f"{path} holds {len(raw) - start} bytes of elements, its shape {shape} of {dtype.name} has "
                          f"{wanted}", hint="the file may be cut short")
    return raw[start:].view(dtype).reshape(shape)


def _unzipped(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read()
    except (OSError, EOFError) as error:
        raise FormatError(f"{path} can't be decompressed: {error}") from error


def _bytes(path: Path) -> np.ndarray:
    """A file's bytes, mapped (an empty file can't be)."""
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)


def cifar(path, classes: int = 10) -> Mapping[str, np.ndarray]:
    """A file of CIFAR's binary version: {"image": uint8[n, 3, 32, 32], "label": uint8[n]}, "coarse" too of 100 classes.

    `lm.data.concatenate` puts the files of CIFAR-10 behind each other.
    """
    if classes not in (10, 100):
        raise LaminaError(f"there is no CIFAR of {classes} classes", hint="10 or 100")
    path, labels = existing(path), 1 if classes == 10 else 2
    size = labels + math.prod(CIFAR_IMAGE)
    raw = _bytes(path)
    if len(raw) % size:
        raise FormatError(f"{path} has {len(raw)} bytes, no multiple of the {size} of a row of CIFAR-{classes}",
                          hint="the file may be cut short, or of the version with other classes")
    rows = raw.reshape(-1, size)
    named = {"image": rows[:, labels:].reshape(-1, *CIFAR_IMAGE), "label": rows[:, labels - 1]}
    return named if classes == 10 else named | {"coarse": rows[:, 0]}
