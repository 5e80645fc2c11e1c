"""Sorting along an axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.dtypes import int64
from ..core.types import TensorType
from .op import Op, Sample, require_axis, require_operands
from .sample_arrays import draw, draw_special


@dataclass(frozen=True)
class Sort(Op):
    """x -> (values, indices int64) in increasing order along `axis`, or in decreasing order where `descending`.

    Stable: equal elements keep their order, in both directions (the lower index comes first, as ONNX TopK asks).
    NaN counts as larger than every number, as in NumPy and PyTorch: last when increasing, first when decreasing.
    """

    axis: int
    descending: bool = False

    def infer(self, *types):
        require_operands(self, 1, *types)
        (x,) = types
        require_axis(self, self.axis, x.rank)
        return (x, TensorType(x.shape, int64))

    def reference(self, x):
        if self.descending:  # reversed before and after, so that equal elements keep their order
            order = np.flip(x.shape[self.axis] - 1 - np.argsort(np.flip(x, self.axis), self.axis, kind="stable"),
                            self.axis)
        else:
            order = np.argsort(x, self.axis, kind="stable")
        return np.take_along_axis(x, order, self.axis), order.astype(np.int64)

    @classmethod
    def samples(cls):
        samples = []
        for descending in (False, True):
            for shape, axis in (((17,), 0), ((3, 13), 1), ((13, 3), 0), ((2, 5, 3), 1), ((0,), 0), ((3, 0), 1),
                                ((1,), 0), ((129,), 0)):
                samples.append(Sample(cls(axis, descending), (draw("float32", *shape),)))
            samples += [Sample(cls(1, descending), (draw(d, 3, 31),), grad=False)
                        for d in ("bool", "int8", "uint8", "int64", "float16", "bfloat16", "float64")]
            samples.append(Sample(cls(0, descending), (draw_special("float32", 37),), grad=False))
            samples.append(Sample(cls(1, descending), (draw("int32", 2, 65) % 3,), grad=False))
        return samples
