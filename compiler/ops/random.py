"""Random bits as a pure function of a key and a position: the same on every device and for every number of threads.

Threefry-2x32 with 20 rounds: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.dims import Dim, bounds, product
from ..core.dtypes import uint32
from ..core.types import TensorType
from ..kernel import builder as k
from .op import Op, Sample, require_operands, shape_error

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


Words = tuple[np.ndarray, np.ndarray]


def threefry(key: Words, counter: Words) -> Words:
    """The two output words of Threefry-2x32-20 for two key words and two counter words (arrays of uint32)."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY))
    x, y = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x = x + y
            y = (y << np.uint32(rotation) | y >> np.uint32(32 - rotation)) ^ x
        x = x + schedule[(group + 1) % 3]
        y = y + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


@dataclass(frozen=True)
class RandomBits(Op):
    """keys uint32[.., 2] -> uint32 bits [.., *shape]: element i (row-major) of each key's bits is the first word of
    Threefry at (i >> 32, i)."""

    shape: tuple[Dim, ...]
    has_element = True

    def infer(self, *types):
        require_operands(self, 1, *types)
        (key,) = types
        if key.dtype != uint32 or key.shape[-1:] != (2,):
            raise shape_error(self, f"takes a key {TensorType((2,), uint32)}, or several", *types)
        return (TensorType((*key.shape[:-1], *self.shape), uint32),)

    def reference(self, key):
        number = np.arange(int(np.prod(self.shape)), dtype=np.uint64).reshape(self.shape)
        counter = (number >> np.uint64(32)).astype(np.uint32), number.astype(np.uint32)
        keys = key.reshape(*key.shape[:-1], *(1,) * len(self.shape), 2)
        with np.errstate(over="ignore"):
            return threefry((keys[..., 0], keys[..., 1]), counter)[0]

    def element(self, operands, index, types, result):
        outer, linear = tuple(index[:types[0].rank - 1]), k.constant(0)
        for i, extent in zip(index[len(outer):], self.shape):
            linear = k.add(k.mul(linear, extent), i)
        low = k.cast(uint32, k.binary("and", linear, k.constant(0xFFFFFFFF)))
        high = k.constant(0, uint32)
        if bounds(product(self.shape))[1] > 1 << 32:
            high = k.cast(uint32, k.binary("shr", linear, k.constant(32)))
        key = [operands[0]((*outer, k.constant(i))) for i in (0, 1)]
        schedule = (*key, _xor(_xor(key[0], key[1]), k.constant(PARITY, uint32)))
        x, y = _plus(high, schedule[0]), _plus(low, schedule[1])
        for group in range(5):
            for rotation in ROTATIONS[group % 2]:
                x = _plus(x, y)
                y = _xor(_rotate(y, rotation), x)
            x = _plus(x, schedule[(group + 1) % 3])
            y = _plus(y, _plus(schedule[(group + 2) % 3], k.constant(group + 1, uint32)))
        return x

    def flops(self, *types):
        return 0

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(self, *operands)

    @classmethod
    def samples(cls):
        keys = (0, 0), (1, 2), (0xFFFFFFFF, 0x9E3779B9)
        shapes = (), (1,), (17,), (3, 5), (0, 4), (2, 3, 129)
        samples = [Sample(cls(s), (np.array(key, np.uint32),), grad=False) for key in keys for s in shapes]
        several = np.array(keys, np.uint32)
        return samples + [Sample(cls(s), (several[:, None],), grad=False) for s in ((), (17,), (0,), (3, 5))]


def _plus(x, y):
    return k.binary("add", x, y)


def _xor(x, y):
    return k.binary("xor", x, y)


def _rotate(x, count: int):
    return k.binary("or", k.binary("shl", x, k.constant(count, uint32)),
                    k.binary("shr", x, k.constant(32 - count, uint32)))
