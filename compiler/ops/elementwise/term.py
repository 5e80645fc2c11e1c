"""How are derivatives written?  As formulas: terms are values with Python's arithmetic, numbers fit themselves to
them."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.dtypes import DType
from ...core.types import TensorType
from ...graph.builder import Builder
from ...graph.graph import Value
from ..constants import filled
from ..op import Op
from .binary import Add, Div, Mul, Sub
from .comparison import Compare, Select
from .conversion import Cast
from .unary import Neg


@dataclass(frozen=True, eq=False)
class Term:
    """A value of a graph that `builder` makes; operands of an operator have one shape and dtype, or are numbers."""

    builder: Builder
    value: Value

    def of(self, op: Op, *others) -> "Term":
        """`op` of this term, and of others behind it."""
        return Term(self.builder, self.builder.emit(op, self.value, *(self._fitted(o) for o in others)))

    def _fitted(self, other) -> Value:
        return other.value if isinstance(other, Term) else filled(self.builder, self.value.type, other)

    def __add__(self, other):
        return self.of(Add(), other)

    def __sub__(self, other):
        return self.of(Sub(), other)

    def __mul__(self, other):
        return self.of(Mul(), other)

    def __truediv__(self, other):
        return self.of(Div(), other)

    def __radd__(self, other):
        return self + other

    def __rsub__(self, other):
        return Term(self.builder, self._fitted(other)) - self

    def __rmul__(self, other):
        return self * other

    def __rtruediv__(self, other):
        return Term(self.builder, self._fitted(other)) / self

    def __neg__(self):
        return self.of(Neg())

    def compare(self, relation: str, other) -> "Term":
        """Where self `relation` other holds, as bool."""
        return self.of(Compare(relation), other)

    def where(self, condition: "Term", other=0) -> "Term":
        """This term where `condition` holds, else `other`."""
        return Term(self.builder, self.builder.emit(Select(), condition.value, self.value, self._fitted(other)))

    def cast(self, dtype: DType) -> "Term":
        return self if self.value.dtype == dtype else self.of(Cast(dtype))

    def filled(self, number) -> "Term":
        """`number` in every element of a term like this one."""
        return Term(self.builder, self._fitted(number))

    @property
    def type(self) -> TensorType:
        return self.value.type
