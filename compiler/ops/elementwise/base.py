"""What do all elementwise ops share?  One shape and dtype for the operands, a scalar expression, and what they are tried on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.dtypes import ALL, FLOATS, INTEGERS, DType, bool_, float32, float64
from ...core.errors import DTypeError
from ...core.types import TensorType
from ..batching import all_batched
from ..op import Op, Sample, require_same_dtype, require_same_shape

NUMBERS = INTEGERS + FLOATS
BITS = (bool_,) + INTEGERS


@dataclass(frozen=True)
class Elementwise(Op, abstract=True):
    """An op on elements: `dtypes` it takes, `scalar` its Kernel expression, `numpy` its meaning.

    Subclasses without fields are dataclasses by this one: decorating each would cost half of `import lamina`.
    """

    is_pointwise = True
    arity = 1
    dtypes = ALL
    numpy = None

    def infer(self, *types):
        shape = require_same_shape(self, *types)
        dtype = require_same_dtype(self, *types)
        if self.dtypes is not ALL and dtype not in self.dtypes:
            raise DTypeError(f"{self.name} does not take {dtype.name}",
                             hint="it takes " + ", ".join(d.name for d in self.dtypes))
        return (TensorType(shape, self.result_dtype(dtype)),)

    def result_dtype(self, dtype: DType) -> DType:
        return dtype

    def reference(self, *arrays):
        return type(self).numpy(*arrays)

    def scalar(self, *operands):
        """The Kernel expression of the result for operand expressions (floats are float32 or float64 here)."""
        raise NotImplementedError

    def element(self, operands, index, types, result):
        return self.scalar(*(read(index) for read in operands))

    def vjp(self, builder, operands, results, cotangents):
        if self.is_flat or not operands[-1].dtype.is_float:
            return (None,) * len(operands)
        from .term import Term
        found = self.pullback(*(Term(builder, value) for value in (*cotangents, *results, *operands)))
        found = found if isinstance(found, tuple) else (found,)
        return tuple(term.value if term is not None else None for term in found)

    def pullback(self, g, out, *operands):
        """The cotangents of the operands as terms (one, or a tuple; None for zero), for `g`, that of the result `out`.
        """
        raise NotImplementedError

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(self, *all_batched(builder, operands, is_batched, size))

    @classmethod
    def samples(cls):
        return [Sample(cls(), arrays) for arrays in trials(cls.arity, cls.dtypes, cls.domain())]

    @classmethod
    def domain(cls) -> tuple[float, float]:
        """Where random trials are drawn from."""
        return (-4.0, 4.0)


def trials(arity: int, dtypes, domain):
    """Arrays for `arity` operands: each dtype, odd sizes, empty and 0-d, and for floats every special value."""
    rng = np.random.default_rng(7)
    low, high = domain

    def draw(dtype, shape):
        if dtype.is_float:
            return rng.uniform(low, high, shape).astype(dtype.numpy)
        if dtype.is_bool:
            return rng.integers(0, 2, shape).astype(bool)
        floor = 0 if dtype.kind == "uint" else -100
        return rng.integers(floor, 101, shape).astype(dtype.numpy)

    for dtype in dtypes:
        yield tuple(draw(dtype, (3, 17)) for _ in range(arity))
    first = float32 if float32 in dtypes else dtypes[0]
    for shape in ((), (0,), (1,), (7, 0, 3), (5, 7, 11), (129,)):
        yield tuple(draw(first, shape) for _ in range(arity))
    if float32 in dtypes:
        special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 3.4e38, 0.5, 2.5, 1e-20,
                            -88.0, 89.0])
        grid = np.meshgrid(*[special] * arity) if arity > 1 else [special]
        for dtype in (float32, float64):
            if dtype in dtypes:
                yield tuple(g.ravel().astype(dtype.numpy) for g in grid)
