"""How do arrays lie in a file so that they can be mapped?  The safetensors format, every tensor at a multiple of 64 bytes.

The format: 8 bytes with the length of a JSON header (little endian), the header {name: {dtype, shape, data_offsets}}, then the
data, row-major and little endian. It allows no holes, so what aligns a tensor is a tensor as well, named "padding.N".
"""

from __future__ import annotations

import json
from typing import Mapping

import numpy as np

from .errors import FormatError, UnsupportedError
from .signature import numpy_dtype

ALIGNMENT = 64
_LONGEST_HEADER = 100_000_000  # bytes, as in the format's own reader

DTYPE_NAMES = {"bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32",
               "int32": "I32", "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32",
               "float64": "F64"}
_DTYPES = {short: name for name, short in DTYPE_NAMES.items()}


def array_bytes(array: np.ndarray) -> memoryview:
    """The elements of `array` as bytes, row-major and little endian; no copy where they lie so already."""
    dense = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return memoryview(dense.reshape(-1).view(np.uint8)) if dense.nbytes else memoryview(b"")


def write_tensors(file, arrays: Mapping[str, np.ndarray], *, aligned: bool = True) -> None:
    """Write `arrays` to a binary file. Without `aligned` it holds these arrays alone, for other programs to read."""
    begin, parts = file_parts(arrays, aligned=aligned)
    file.write(begin)
    for part in parts:
        file.write(part if isinstance(part, bytes) else array_bytes(part))


def file_parts(arrays: Mapping[str, np.ndarray], *, aligned: bool = True) -> tuple[bytes, list]:
    """What a file of `arrays` begins with, up to the data, and what follows: arrays, and bytes that align them."""
    header, parts, at = {}, [], 0
    for number, (name, array) in enumerate(arrays.items()):
        padding = -at % ALIGNMENT if aligned else 0
        if padding:
            header[f"padding.{number}"] = {"dtype": "U8", "shape": [padding], "data_offsets": [at, at + padding]}
            parts.append(bytes(padding))
            at += padding
        if array.dtype.name not in DTYPE_NAMES:
            raise UnsupportedError(f"the tensor {name!r} is {array.dtype.name}, which safetensors files don't have")
        header[name] = {"dtype": DTYPE_NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        parts.append(array)
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, parts


def read_tensors(data, what: str) -> dict[str, np.ndarray]:
    """The arrays in a buffer, as read-only views of it; `what` names it in errors (FormatError)."""
    raw = np.frombuffer(data, np.uint8)
    raw.flags.writeable = False
    length = int.from_bytes(raw[:8].tobytes(), "little")
    if len(raw) < 8 or length > min(_LONGEST_HEADER, len(raw) - 8):
        raise FormatError(f"{what} is cut short: its header does not fit")
    try:
        header = json.loads(raw[8:8 + length].tobytes())
        rows = {n: (r["dtype"], tuple(map(int, r["shape"])), *map(int, r["data_offsets"])) for n, r in header.items() if n != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"the header of {what} is damaged: {error}") from error
    body = raw[8 + length:]
    arrays = {}
    for name, (short, shape, begin, end) in rows.items():
        if short not in _DTYPES:
            raise FormatError(f"the tensor {name!r} of {what} has the unknown dtype {short!r}")
        dtype = numpy_dtype(_DTYPES[short])
        count = 1
        for extent in shape:
            count *= extent
        if min((*shape, begin)) < 0 or end - begin != count * dtype.itemsize or end > len(body):
            raise FormatError(f"the tensor {name!r} of {what} is cut short or its extents are wrong")
        arrays[name] = body[begin:end].view(dtype).reshape(shape)
    return arrays
