"""In which layout do kernels want their constant operands?  Panels: what one step of the inner loop reads lies side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.types import TensorType
from .op import Op, Sample, require_operands, shape_error
from .sample_arrays import draw


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Uninitialized memory that begins at a multiple of 64 bytes: panels are read by whole vectors and cache lines."""
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start:start + count].view(dtype).reshape(shape)


@dataclass(frozen=True)
class Unpack(Op):
    """The tensor of `shape` whose elements lie packed in the operand [batch, panels, sums, width], zero padded.

    The tensor, reshaped to `split` (one extent for each of `letters`), has its `batch` letters outermost in the packing, then the
    panels of the `column` letter, `width` columns each, and within a panel the `sums` letters (Goto and van de Geijn 2008).
    """

    shape: tuple[int, ...]
    split: tuple[int, ...]
    letters: str
    batch: str
    sums: str
    column: str
    width: int

    def _extents(self, letters: str) -> tuple[int, ...]:
        return tuple(self.split[self.letters.index(c)] for c in letters)

    def packed_shape(self) -> tuple[int, int, int, int]:
        columns = self.split[self.letters.index(self.column)]
        return (int(np.prod(self._extents(self.batch), dtype=np.int64)), -(-columns // self.width),
                int(np.prod(self._extents(self.sums), dtype=np.int64)), self.width)

    def infer(self, *types):
        require_operands(self, 1, *types)
        if types[0].shape != self.packed_shape():
            raise shape_error(self, f"takes the packed shape {self.packed_shape()}", *types)
        return (TensorType(self.shape, types[0].dtype),)

    def pack(self, array: np.ndarray) -> np.ndarray:
        """The packed form of `array`, which has `shape`."""
        order = [self.letters.index(c) for c in self.batch + self.sums + self.column]
        batch, panels, sums, width = self.packed_shape()
        columns = self.split[self.letters.index(self.column)]
        matrix = array.reshape(self.split).transpose(order).reshape(batch, sums, columns)
        packed = aligned_empty((batch, panels, sums, width), array.dtype)
        whole = columns // width
        packed[:, :whole] = matrix[:, :, :whole * width].reshape(batch, sums, whole, width).transpose(0, 2, 1, 3)
        if whole < panels:
            packed[:, whole] = 0
            packed[:, whole, :, :columns - whole * width] = matrix[:, :, whole * width:]
        return packed

    def reference(self, packed):
        batch, panels, sums, width = self.packed_shape()
        columns = self.split[self.letters.index(self.column)]
        matrix = packed.transpose(0, 2, 1, 3).reshape(batch, sums, panels * width)[:, :, :columns]
        order = self.batch + self.sums + self.column
        return matrix.reshape(self._extents(order)).transpose([order.index(c) for c in self.letters]).reshape(self.shape)

    def flops(self, *types):
        return 0

    @classmethod
    def samples(cls):
        ops = [cls((5, 37), (5, 37), "kn", "", "k", "n", 16), cls((3, 3, 4, 6), (3, 3, 4, 2, 3), "rscgo", "g", "rsc", "o", 16),
               cls((37, 5), (37, 5), "nk", "", "k", "n", 32), cls((2, 5, 16), (2, 5, 16), "bkn", "b", "k", "n", 8)]
        return [Sample(op, (op.pack(draw("float32", *op.shape)),), grad=False) for op in ops]
