"""What must an operator know of itself?  The contract of every op, the registry of them, and what tests try them on.

An op is a frozen dataclass: its fields are its attributes, its methods are all that the system knows of it. Adding one
means writing one class in one file of this folder; `tests/ops` runs every registered op through every suite.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from ..core.dims import Dim, DimExpr, FloorDiv, bounds, evaluate
from ..core.dtypes import DType
from ..core.errors import DTypeError, ShapeError, UnsupportedError
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Value

REGISTRY: dict[str, type["Op"]] = {}


@dataclass(frozen=True)
class Sample:
    """One trial of an op: `op` applied to `arrays`. `tolerance` is relative to the largest finite magnitude of the
    result, for floats; None takes the dtype's default. `grad` says whether its derivative is tried there."""

    op: "Op"
    arrays: tuple[np.ndarray, ...]
    tolerance: float | None = None
    grad: bool = True


class Op:
    """Base of every operator. Subclasses are frozen dataclasses; their class name in snake case is their IR name."""

    #: True where every result element depends on the operand elements at one index only, and `element` tells how.
    is_pointwise = False
    #: True where the result holds the operand's elements, rearranged or repeated (`element` tells from where).
    is_view = False
    #: True where `element` exists: pointwise and view ops have it, and those ops that look elements up.
    has_element = False

    #: True for Constant alone, which builders keep in one copy and fold.
    is_constant = False

    #: True where constant operands are not folded: the result may be much larger than they are, and costs nothing while
    #: it stays an index map; or computing it may take any time.
    expands = False

    #: True where results change in steps if at all: the derivative is 0 wherever there is one.
    is_flat = False
    #: Why there is no rule for the derivative, although results may be floats.
    not_differentiable = ""

    def __init_subclass__(cls, abstract: bool = False, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.has_element = cls.has_element or cls.is_pointwise or cls.is_view
        if not abstract:
            cls.name = _snake(cls.__name__)
            REGISTRY[cls.name] = cls

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        """The result types for these operand types; ShapeError or DTypeError where they do not fit."""
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray):
        """The results in NumPy, written apart from the lowering: one array, or a tuple where there are several."""
        raise NotImplementedError

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """`reference` with results in the inferred dtypes, always a tuple. 16-bit floats compute in float32."""
        types = tuple(TensorType(tuple(a.shape), _dtype_of(a)) for a in arrays)
        expected = self.infer(*types)
        if any(t.dtype.compute != t.dtype for t in types) and not self.is_view:
            arrays = tuple(a.astype(np.float32) if t.dtype.compute != t.dtype else a for a, t in zip(arrays, types))
        out = self.reference(*arrays)
        out = out if isinstance(out, tuple) else (out,)
        return tuple(np.asarray(a).astype(t.dtype.numpy, copy=False).reshape(t.shape) for a, t in zip(out, expected))

    def element(self, operands: Sequence[Callable], index: tuple, types: Sequence[TensorType], result: TensorType):
        """The Kernel expression of the result's element at `index`.

        `operands[i](index)` is the expression of operand i's element (16-bit floats are float32 there); `types`
        are the operand types. It is what fusion splices into loops. Expressions may share parts: they are a DAG.
        """
        raise NotImplementedError

    def vjp(self, builder: Builder, operands: Sequence[Value], results: Sequence[Value],
            cotangents: Sequence[Value | None]) -> tuple[Value | None, ...]:
        """The cotangents of the operands, for those of the results: of their shapes and dtypes, emitted with `builder`.

        None stands for a cotangent that is zero: of a result that nothing depends on, and of an operand on which
        nothing depends or that is no float. Rules may use the results, and may emit what turns out to be dead.
        UnsupportedError where there is no rule.
        """
        if self.is_flat:
            return (None,) * len(operands)
        raise UnsupportedError(f"{self.name} has no derivative: {self.not_differentiable}",
                               hint="lm.stop_gradient keeps it out of the derivative, lm.custom_vjp gives a rule")

    def vmap(self, builder: Builder, operands: Sequence[Value], is_batched: Sequence[bool],
             size: Dim) -> Sequence[Value]:
        """The results for `size` sets of operands, emitted with `builder`.

        Operands that are flagged, at least one, carry the batch as axis 0; the others are the same for all sets. Results
        carry it as axis 0; one that depends on no flagged operand may lack it, which its rank tells.
        """
        raise NotImplementedError

    @classmethod
    def samples(cls) -> list[Sample]:
        """The trials of this op: sizes 0, 1 and primes, NaN and infinities, every dtype that makes sense."""
        raise NotImplementedError

    def flops(self, *types: TensorType) -> Dim:
        """Floating-point operations for these operands (one for each result element unless the op knows better)."""
        return sum((t.size for t in self.infer(*types)), 0)

    def at_extents(self, extents: Mapping[str, int]) -> "Op":
        """This op with the symbolic dims in its fields replaced by their extents."""
        changed = {}
        for f in fields(self) if is_dataclass(self) else ():
            old = getattr(self, f.name)
            new = _at_extents(old, extents)
            if new is not old:
                changed[f.name] = new
        return replace(self, **changed) if changed else self

    def attributes(self) -> dict[str, Any]:
        """The op's fields by name, as its text shows them."""
        return {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else {}

    def outline(self):
        """What a graph's hash takes of the op: its class, and what is at hand to tell it from others of the class."""
        return self if self.is_view else type(self)


def _snake(name: str) -> str:
    out = []
    for i, ch in enumerate(name):
        if ch.isupper() and i and not name[i - 1].isupper():
            out.append("_")
        out.append(ch.lower())
    return "".join(out)


def _at_extents(value, extents):
    if isinstance(value, DimExpr):
        return evaluate(value, extents)
    if isinstance(value, tuple):
        new = tuple(_at_extents(v, extents) for v in value)
        return new if any(n is not v for n, v in zip(new, value)) else value
    return value


def _dtype_of(array: np.ndarray) -> DType:
    from ..core.dtypes import as_dtype
    return as_dtype(array.dtype)


def require_same_shape(op: Op, *types: TensorType) -> tuple[Dim, ...]:
    """The one shape of all operands, or a ShapeError that shows their types."""
    if any(t.shape != types[0].shape for t in types):
        raise ShapeError(f"{op.name} takes operands of one shape, got {', '.join(map(str, types))}")
    return types[0].shape


def require_same_dtype(op: Op, *types: TensorType) -> DType:
    """The one dtype of all operands, or a DTypeError that shows their types."""
    if any(t.dtype != types[0].dtype for t in types):
        raise DTypeError(f"{op.name} takes operands of one dtype, got {', '.join(map(str, types))}")
    return types[0].dtype


def require_axis(op: Op, axis: int, rank: int) -> int:
    """`axis` itself where 0 <= axis < rank, else a ShapeError."""
    if not 0 <= axis < rank:
        raise ShapeError(f"{op.name}: axis {axis} of a tensor of rank {rank}")
    return axis


def shape_error(op: Op, what: str, *types: TensorType, hint: str | None = None) -> ShapeError:
    """A ShapeError that says `what` is wrong and shows the operand types."""
    return ShapeError(f"{op.name}: {what}; operands are {', '.join(map(str, types))}", hint=hint)


def dtype_error(op: Op, what: str, *types: TensorType, hint: str | None = None) -> DTypeError:
    """A DTypeError that says `what` is wrong and shows the operand types."""
    return DTypeError(f"{op.name}: {what}; operands are {', '.join(map(str, types))}", hint=hint)


def require_operands(op: Op, count: int, *types: TensorType) -> None:
    """A ShapeError unless there are `count` operands."""
    if len(types) != count:
        raise shape_error(op, f"takes {count} operands, got {len(types)}", *types)


def is_nonnegative(d: Dim) -> bool:
    """Whether the facts prove d >= 0.

    Interval arithmetic first; then with floor divisions bounded by their fractions, (n - q + 1)/q <= n // q <= n/q,
    so that a term and its own quotient can cancel: s - 1 - s // 2 for s >= 1.
    """
    if bounds(d)[0] >= 0:
        return True
    scale = 1
    while isinstance(d, DimExpr):
        quotient = next(((m[0], c) for m, c in d.terms if len(m) == 1 and isinstance(m[0], FloorDiv)), None)
        if quotient is None:
            break
        atom, c = quotient
        q = atom.denominator
        rest = d - DimExpr((((atom,), c),))
        d = rest * q + c * (atom.numerator if c < 0 else atom.numerator - (q - 1))
        scale *= q
    return bounds(d)[0] > -scale
