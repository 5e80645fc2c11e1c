"""Values that need no operand: constants and index ramps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.dims import Dim
from ..core.dtypes import DType, as_dtype, float32, int64
from ..core.types import TensorType
from ..kernel import builder as k
from .op import Op, Sample, require_axis


@dataclass(frozen=True, eq=False)
class Constant(Op):
    """A tensor that is known while compiling. `label` is its name in the imported model, if it had one."""

    array: np.ndarray
    label: str = ""
    is_constant = True

    def __post_init__(self):
        array = np.asarray(self.array)
        if array.flags.writeable:
            array = array.view()  # the caller's own array stays writable
            array.flags.writeable = False
        object.__setattr__(self, "array", array)

    @cached_property
    def digest(self) -> str:
        """A hash of dtype, shape and contents."""
        from hashlib import blake2b
        head = f"{self.array.dtype.name}{self.array.shape}".encode()
        return blake2b(np.ascontiguousarray(self.array).tobytes() + head, digest_size=16).hexdigest()

    def outline(self):
        return self.array.dtype.str, self.array.shape, self.array.tobytes() if self.array.nbytes <= 64 else b""

    def infer(self):
        return (TensorType(tuple(self.array.shape), as_dtype(self.array.dtype)),)

    def reference(self):
        return self.array

    def evaluate(self):
        return (self.array,)

    def flops(self):
        return 0

    @classmethod
    def samples(cls):
        arrays = 3.5, np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros((0, 4), np.float32), np.array([True, False])
        return [Sample(cls(np.array(a)), ()) for a in arrays]


@dataclass(frozen=True)
class Iota(Op):
    """A tensor of `shape` that counts 0, 1, 2 ... along `axis`."""

    shape: tuple[Dim, ...]
    axis: int = 0
    dtype: DType = int64
    is_view = True

    def infer(self):
        require_axis(self, self.axis, len(self.shape))
        return (TensorType(self.shape, self.dtype),)

    def reference(self):
        ramp = np.arange(self.shape[self.axis]).astype(self.dtype.numpy)
        along = [1] * len(self.shape)
        along[self.axis] = -1
        return np.broadcast_to(ramp.reshape(along), self.shape)

    def element(self, operands, index, types, result):
        return k.cast(self.dtype.compute, index[self.axis])

    @classmethod
    def samples(cls):
        return [Sample(cls(s, a, d), ()) for s, a in (((5,), 0), ((3, 17), 0), ((3, 17), 1), ((0, 2), 1), ((1,), 0))
                for d in (int64, float32, as_dtype("int8"), as_dtype("bfloat16"))]
