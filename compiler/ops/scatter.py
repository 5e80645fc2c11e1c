"""Operators that write elements at computed places: the ONNX scatters.

Updates are applied in their row-major order; one whose index lies outside x is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.types import TensorType
from .gather import coordinates, require_indices
from .op import Op, Sample, dtype_error, is_nonnegative, require_axis, require_operands, require_same_dtype, shape_error
from .sample_arrays import draw

REDUCTIONS = ("set", "add", "mul", "max", "min")
_UFUNC = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class Scatter(Op, abstract=True):
    """(x, indices, updates) -> x with updates written, or combined by `reduction` with what is there."""

    def require_reduction(self, *types: TensorType) -> None:
        """Three operands, a known reduction, dtypes that fit."""
        require_operands(self, 3, *types)
        if self.reduction not in REDUCTIONS:
            raise shape_error(self, f"reduction {self.reduction!r} is none of {', '.join(REDUCTIONS)}", *types)
        require_same_dtype(self, types[0], types[2])
        require_indices(self, types[1], *types)
        if types[0].dtype.is_bool and self.reduction in ("add", "mul"):
            raise dtype_error(self, f"{self.reduction} of bool", *types, hint="any and all are max and min")

    def apply(self, out: np.ndarray, places: tuple[np.ndarray, ...], updates: np.ndarray) -> np.ndarray:
        """`out` with `updates` applied at `places`, in order."""
        if self.reduction == "set":
            out[places] = updates  # NumPy assigns in order: the last of repeated places stays
        else:
            _UFUNC[self.reduction].at(out, places, updates)
        return out

    def flops(self, *types):
        return 0 if self.reduction == "set" else types[2].size


@dataclass(frozen=True)
class ScatterNd(Scatter):
    """ONNX ScatterND: indices [.., K] address the first K axes of x; updates are indices.shape[:-1] + x.shape[K:]."""

    reduction: str = "set"

    def infer(self, *types):
        self.require_reduction(*types)
        x, indices, updates = types
        count = coordinates(self, indices, x.rank, *types)
        expected = TensorType((*indices.shape[:-1], *x.shape[count:]), x.dtype)
        if updates != expected:
            raise shape_error(self, f"updates must be {expected}", *types)
        return (x,)

    def reference(self, x, indices, updates):
        count = indices.shape[-1]
        rows = indices.reshape(int(np.prod(indices.shape[:-1])), count)
        inside = ((rows >= 0) & (rows < x.shape[:count])).all(1)
        return self.apply(x.copy(), tuple(rows[inside].T), updates.reshape(len(rows), *x.shape[count:])[inside])

    @classmethod
    def samples(cls):
        cases = [((7,), (4, 1)), ((7, 3), (5, 1)), ((7, 3), (9, 2)), ((3, 4, 5), (2, 3, 2)), ((1,), (17, 1)),
                 ((5,), (0, 1)),
                 ((0, 3), (2, 1)), ((3, 5), (2,))]
        samples = [_trial_nd(cls(r), x, i, "float32") for r in REDUCTIONS for x, i in cases]
        samples += [_trial_nd(cls(r), (5, 3), (8, 1), d, grad=False) for r in REDUCTIONS
                    for d in ("int8", "int64", "float16", "bfloat16", "float64", "uint8")]
        return samples + [_trial_nd(cls(r), (5, 3), (8, 1), "bool") for r in ("set", "max", "min")]


def _trial_nd(op, x, indices, dtype, grad=True) -> Sample:
    rng = np.random.default_rng((*x, *indices))
    at = np.stack([rng.integers(-1, n + 1, indices[:-1]) for n in x[:indices[-1]]], -1).astype(np.int64)
    return Sample(op, (draw(dtype, *x), at, draw(dtype, *indices[:-1], *x[indices[-1]:], seed=1)), grad=grad)


@dataclass(frozen=True)
class ScatterAlong(Scatter):
    """ONNX ScatterElements: x[.., indices[.., i, ..], ..] takes updates[.., i, ..] along `axis`.

    updates has indices' shape; its extents on the other axes are at most x's.
    """

    axis: int
    reduction: str = "set"

    def infer(self, *types):
        self.require_reduction(*types)
        x, indices, updates = types
        require_axis(self, self.axis, x.rank)
        if indices.shape != updates.shape or indices.rank != x.rank:
            raise shape_error(self, "indices and updates have one shape, of x's rank", *types)
        for axis, (extent, written) in enumerate(zip(x.shape, indices.shape)):
            if axis != self.axis and not is_nonnegative(extent - written):
                raise shape_error(self, f"{written} updates do not lie within the {extent} elements of axis {axis}",
                                  *types)
        return (x,)

    def reference(self, x, indices, updates):
        places = list(np.indices(indices.shape))
        places[self.axis] = indices
        inside = (indices >= 0) & (indices < x.shape[self.axis])
        return self.apply(x.copy(), tuple(p[inside] for p in places), updates[inside])

    @classmethod
    def samples(cls):
        cases = [(0, (7,), (4,)), (1, (3, 7), (3, 5)), (0, (7, 3), (2, 3)), (1, (4, 7), (2, 9)),
                 (2, (2, 3, 5), (2, 2, 4)), (0, (1,), (17,)),
                 (0, (5,), (0,)), (0, (0, 3), (2, 3))]
        samples = [_trial_along(cls(axis, r), x, i, "float32") for r in REDUCTIONS for axis, x, i in cases]
        samples += [_trial_along(cls(1, r), (3, 5), (3, 8), d, grad=False) for r in REDUCTIONS
                    for d in ("int8", "int64", "float16", "bfloat16", "float64", "uint8")]
        return samples + [_trial_along(cls(1, r), (3, 5), (3, 8), "bool") for r in ("set", "max", "min")]


def _trial_along(op, x, indices, dtype, grad=True) -> Sample:
    rng = np.random.default_rng((*x, *indices))
    at = rng.integers(-1, x[op.axis] + 1, indices).astype(np.int32)
    return Sample(op, (draw(dtype, *x), at, draw(dtype, *indices, seed=1)), grad=grad)
