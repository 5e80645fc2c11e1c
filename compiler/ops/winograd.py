"""How is a convolution's window transformed for fewer multiplications?  By Winograd's minimal filtering.

F(m x m, 3 x 3) computes an m x m tile of outputs from (m + 2)² products per input and output channel in place of 9 m²
(Winograd 1980; Lavin and Gray 2015): with matrices A, B and G, out = A^T [(G g G^T) * (B^T d B)] A for a window g and
inputs d. The matrices interpolate polynomials at 0, pairs of points ±a, and infinity; the points decide the rounding
error. For m = 4, ±5/8 and ±3/2 leave less than half of the error of the usual ±1 and ±2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..core.types import TensorType
from .control import map_over_batch
from .op import Op, Sample, require_operands, shape_error
from .pack import aligned_empty
from .sample_arrays import draw

ONE_THREAD = 1 << 18  # multiplications of a matrix product that BLAS does not hand to threads, of which packing has its own
TAPS = 3  # extent of the windows, along both axes
POINTS: dict[int, tuple[float, ...]] = {2: (1.0,), 4: (0.625, 1.5)}  # for each m, a of the pairs ±a


def from_squares(roots: tuple[float, ...]) -> tuple[float, ...]:
    """The product of (y - a²) over `roots` as coefficients of 1, y, y² ...: y stands for x², since pairs ±a are roots."""
    product = [1.0]
    for a in roots:
        product = [low - a * a * high for low, high in zip([0.0, *product], [*product, 0.0])]
    return tuple(product)


@cache
def window_transform(outputs: int) -> np.ndarray:
    """G of F(outputs, 3), [outputs + 2, 3], its rows for 0, a, -a of each pair, and infinity."""
    pairs = POINTS[outputs]
    rows = [np.array([1.0, 0.0, 0.0]) / from_squares(pairs)[0]]
    for a in pairs:
        others = from_squares(tuple(b for b in pairs if b != a))
        scale = 2 * a * a * sum(c * a ** (2 * i) for i, c in enumerate(others))
        rows += [np.array([1.0, x, x * x]) / scale for x in (a, -a)]
    return np.array([*rows, [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class UnpackWinograd(Op):
    """The windows [3, 3, C, K] whose transforms for F(outputs, 3) lie in the operand [panels, (outputs + 2)², C, width].

    A panel holds `width` of the K columns, zero padded; the transforms' elements lie row by row.
    """

    shape: tuple[int, ...]
    outputs: int
    width: int
    not_differentiable = "passes write it when derivatives have been taken"

    def packed_shape(self) -> tuple[int, int, int, int]:
        return (-(-self.shape[-1] // self.width), (self.outputs + TAPS - 1) ** 2, self.shape[-2], self.width)

    def infer(self, *types):
        require_operands(self, 1, *types)
        if types[0].shape != self.packed_shape():
            raise shape_error(self, f"takes the packed shape {self.packed_shape()}", *types)
        return (TensorType(self.shape, types[0].dtype),)

    def pack(self, array: np.ndarray, packed: np.ndarray | None = None) -> np.ndarray:
        """The transforms of the windows in `array`, which has `shape`, rounded once; written to `packed` where that is
        given."""
        one = window_transform(self.outputs)
        both = np.kron(one, one)  # of a window's nine elements
        packed = aligned_empty(self.packed_shape(), array.dtype) if packed is None else packed
        windows = array.reshape(TAPS * TAPS, *self.shape[-2:])
        for panel, out in enumerate(packed):
            columns = windows[..., panel * self.width:(panel + 1) * self.width]
            count = columns.shape[-1]
            out[..., count:] = 0
            step = max(1, ONE_THREAD // (both.size * count))
            for first in range(0, self.shape[-2], step):
                part = columns[:, first:first + step]
                made = both @ part.reshape(TAPS * TAPS, -1).astype(np.float64)
                out[:, first:first + step, :count] = made.reshape(len(both), -1, count)
        return packed

    def reference(self, packed):
        one = np.linalg.pinv(window_transform(self.outputs))
        rows = packed.transpose(1, 2, 0, 3).reshape(packed.shape[1], -1).astype(np.float64)
        windows = (np.kron(one, one) @ rows).reshape(*self.shape[:-1], -1)
        return windows[..., :self.shape[-1]].astype(packed.dtype)

    def flops(self, *types):
        return 0

    def vmap(self, builder, operands, is_batched, size):
        return map_over_batch(builder, self, operands, is_batched, size)

    @classmethod
    def samples(cls):
        ops = [cls((3, 3, 5, 37), 2, 16), cls((3, 3, 4, 16), 4, 8), cls((3, 3, 1, 3), 4, 16)]
        return [Sample(op, (op.pack(draw("float32", *op.shape)),), grad=False) for op in ops]
