"""The elementwise operator from one dtype to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.dtypes import ALL, DType, float32
from ...kernel import builder as k
from ..op import Sample
from .base import Elementwise, trials


@dataclass(frozen=True)
class Cast(Elementwise):
    """x as `dtype`, by value. Floats to integers truncate and saturate, NaN becomes 0; to bool is x != 0."""
    dtype: DType = float32

    def result_dtype(self, dtype):
        return self.dtype

    def reference(self, x):
        if x.dtype.kind not in "biu" and self.dtype.is_integer:
            wide = np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
            top = float(self.dtype.maximum)
            inside = np.clip(wide, float(self.dtype.minimum), np.nextafter(top, 0) if self.dtype.bits == 64 else top)
            return np.where(wide >= top, self.dtype.maximum, inside.astype(self.dtype.numpy)).astype(self.dtype.numpy)
        if self.dtype.is_bool:
            return x != 0
        return x.astype(self.dtype.numpy)

    def scalar(self, x):
        rounded = k.cast(self.dtype, x)
        return k.cast(self.dtype.compute, rounded)

    def pullback(self, g, out, x):
        return g.cast(x.type.dtype)

    @classmethod
    def samples(cls):
        return [Sample(cls(to), a) for to in ALL for a in trials(1, ALL, (-4.0, 300.0))]
