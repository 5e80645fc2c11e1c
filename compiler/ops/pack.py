"""In which layout do kernels want their constant operands?  Panels: what one step of the inner loop reads lies side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from string import ascii_letters

import numpy as np

from ..core.mapped import read_once
from ..core.types import TensorType
from .batching import fold_batch
from .op import Op, Sample, require_operands, shape_error
from .sample_arrays import draw


PART_BYTES = 1 << 20  # of a weight that are packed at a time: what is read stays in the cache until it is written


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
    not_differentiable = "passes write it when derivatives have been taken"

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

    def pack(self, array: np.ndarray, packed: np.ndarray | None = None) -> np.ndarray:
        """The packed form of `array`, which has `shape`; it is written to `packed` where that is given."""
        packed = aligned_empty(self.packed_shape(), array.dtype) if packed is None else packed
        is_column = self.letters[0] == self.column
        unit = self.width if is_column else 1
        source, target = array.reshape(self.split), self._by_letters(packed)
        step = max(1, PART_BYTES * self.split[0] // max(1, array.nbytes * unit)) * unit
        with read_once(array):
            for first in range(0, self.split[0], step):
                part = source[first:first + step]
                if not part.flags.aligned:  # copied as bytes: NumPy copies misaligned elements one by one
                    part = np.frombuffer(bytearray(part), array.dtype).reshape(part.shape)
                self._pack_part(part, target[first // unit:(first + step) // unit])
        return packed

    def _by_letters(self, packed: np.ndarray) -> np.ndarray:
        """`packed` with the axes of `letters`, that of the column split into panels and the columns of one."""
        stored = [*self.batch, "panel", *self.sums, "lane"]
        shape = (*self._extents(self.batch), packed.shape[1], *self._extents(self.sums), self.width)
        wanted = [axis for c in self.letters for axis in (("panel", "lane") if c == self.column else (c,))]
        return packed.reshape(shape).transpose([stored.index(axis) for axis in wanted])

    def _pack_part(self, part: np.ndarray, target: np.ndarray) -> None:
        """Copy `part`, which has an axis for each letter, into its place, and zeros where its last panel ends before the width."""
        at = self.letters.index(self.column)
        before = (slice(None),) * at
        whole, rest = divmod(part.shape[at], self.width)
        panels = part[(*before, slice(whole * self.width))]
        target[(*before, slice(whole))] = panels.reshape(*part.shape[:at], whole, self.width, *part.shape[at + 1:])
        if rest:
            target[(*before, whole, slice(rest))] = part[(*before, slice(whole * self.width, None))]
            target[(*before, whole, slice(rest, None))] = 0

    def reference(self, packed):
        batch, panels, sums, width = self.packed_shape()
        columns = self.split[self.letters.index(self.column)]
        matrix = packed.transpose(0, 2, 1, 3).reshape(batch, sums, panels * width)[:, :, :columns]
        order = self.batch + self.sums + self.column
        return matrix.reshape(self._extents(order)).transpose([order.index(c) for c in self.letters]).reshape(self.shape)

    def flops(self, *types):
        return 0

    def vmap(self, builder, operands, is_batched, size):
        """One letter more, outermost."""
        (packed,) = operands
        letter = next(c for c in ascii_letters if c not in self.letters)
        op = replace(self, shape=(size, *self.shape), split=(size, *self.split), letters=letter + self.letters,
                     batch=letter + self.batch)
        return builder.emit_all(op, fold_batch(builder, packed))

    @classmethod
    def samples(cls):
        ops = [cls((5, 37), (5, 37), "kn", "", "k", "n", 16), cls((3, 3, 4, 6), (3, 3, 4, 2, 3), "rscgo", "g", "rsc", "o", 16),
               cls((37, 5), (37, 5), "nk", "", "k", "n", 32), cls((2, 5, 16), (2, 5, 16), "bkn", "b", "k", "n", 8)]
        return [Sample(op, (op.pack(draw("float32", *op.shape)),), grad=False) for op in ops]
