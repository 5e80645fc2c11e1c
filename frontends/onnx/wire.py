"""Where in an ONNX file do the weights lie?  A walk over the protobuf's fields that leaves their bytes where they are.

Parsing a model with protobuf copies every weight, and reading it into memory copies it once more. The walk splits the
file into a small model without the large `raw_data` of initializers, which protobuf parses, and views of those bytes.
Source: Protocol Buffers, Encoding (protobuf.dev/programming-guides/encoding); field numbers from onnx.proto.
"""

from __future__ import annotations

from typing import Iterator

import numpy as np

LARGE = 4096  # bytes of raw_data from which an initializer stays in the file
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # ModelProto.graph, GraphProto.initializer, TensorProto.raw_data
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(Exception):
    """The bytes are no protobuf message of the plain form that this walk knows."""


def split_weights(data: np.ndarray) -> tuple[bytes, dict[int, np.ndarray]]:
    """The serialized model without its large weights, and those by the position of their initializer, for a file's
    bytes (uint8). Malformed where the file should be left to protobuf as a whole."""
    buffer = memoryview(data)
    model: list[bytes] = []
    weights: dict[int, np.ndarray] = {}
    graphs = 0
    for number, start, body, end in _fields(buffer, 0, len(buffer)):
        if number != _GRAPH:
            model.append(bytes(buffer[start:end]))
            continue
        graphs += 1
        pieces = b"".join(_graph_pieces(buffer, data, body, end, weights))
        model += [_key(_GRAPH), _varint(len(pieces)), pieces]
    if graphs != 1:
        raise Malformed
    return b"".join(model), weights


def _graph_pieces(buffer: memoryview, data: np.ndarray, begin: int, end: int,
                  weights: dict[int, np.ndarray]) -> Iterator[bytes]:
    position = 0
    for number, start, body, stop in _fields(buffer, begin, end):
        if number != _INITIALIZER:
            yield bytes(buffer[start:stop])
            continue
        if stop - body < LARGE:
            tensor = bytes(buffer[body:stop])
        else:
            tensor = _without_raw_data(buffer, data, body, stop, position, weights)
        yield _key(_INITIALIZER) + _varint(len(tensor)) + tensor
        position += 1


def _without_raw_data(buffer: memoryview, data: np.ndarray, begin: int, end: int, position: int,
                      weights: dict[int, np.ndarray]) -> bytes:
    kept: list[bytes] = []
    for number, start, body, stop in _fields(buffer, begin, end):
        if number == _RAW_DATA and stop - body >= LARGE:
            if position in weights:
                raise Malformed
            weights[position] = data[body:stop]
        else:
            kept.append(bytes(buffer[start:stop]))
    return b"".join(kept)


def _fields(buffer: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field of a message: its number (0 where it holds no bytes), where it starts, its contents start, it ends."""
    while at < end:
        start = at
        key, at = _read_varint(buffer, at, end)
        kind = key & 7
        if kind == _VARINT:
            body, at = at, _read_varint(buffer, at, end)[1]
        elif kind == _BYTES:
            length, body = _read_varint(buffer, at, end)
            at = body + length
        elif kind in (_FIXED64, _FIXED32):
            body, at = at, at + (8 if kind == _FIXED64 else 4)
        else:
            raise Malformed
        if at > end:
            raise Malformed
        yield (key >> 3 if kind == _BYTES else 0), start, body, at


def _read_varint(buffer: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Malformed


def _key(number: int) -> bytes:
    return _varint(number << 3 | _BYTES)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
