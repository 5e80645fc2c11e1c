"""Elementwise operators that compare and choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.dtypes import ALL, bool_
from ...core.errors import DTypeError
from ...core.types import TensorType
from ...kernel import builder as k
from ..op import Sample, require_same_dtype, require_same_shape
from .base import Elementwise, trials

_COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
            "ge": np.greater_equal}


@dataclass(frozen=True)
class Compare(Elementwise):
    """x `relation` y as bool; relation is one of eq, ne, lt, le, gt, ge. NaN is unequal to everything."""
    relation: str = "eq"
    arity = 2

    def result_dtype(self, dtype):
        return bool_

    def reference(self, x, y):
        return _COMPARE[self.relation](x, y)

    def scalar(self, x, y):
        return k.compare(self.relation, x, y)

    @classmethod
    def samples(cls):
        return [Sample(cls(r), a) for r in _COMPARE for a in trials(2, ALL, cls.domain())]


@dataclass(frozen=True)
class Select(Elementwise):
    """x where the condition (bool) holds, else y."""
    arity = 3

    def infer(self, *types):
        shape = require_same_shape(self, *types)
        if types[0].dtype != bool_:
            raise DTypeError(f"select's condition is {types[0]}", hint="it is bool: compare, or cast it")
        return (TensorType(shape, require_same_dtype(self, *types[1:])),)

    def reference(self, condition, x, y):
        return np.where(condition, x, y)

    def pullback(self, g, out, condition, x, y):
        return None, g.where(condition), g.filled(0).where(condition, g)

    def scalar(self, condition, x, y):
        return k.select(condition, x, y)

    @classmethod
    def samples(cls):
        rng = np.random.default_rng(5)
        return [Sample(cls(), (rng.integers(0, 2, x.shape).astype(bool), x, y))
                for x, y in trials(2, ALL, cls.domain())]
