"""What is the type of a value?  A shape of dims and a dtype."""

from __future__ import annotations

from dataclasses import dataclass

from .dims import Dim, format_dim, product
from .dtypes import DType


@dataclass(frozen=True)
class TensorType:
    """The type of a tensor: `shape` (ints or dim expressions, outermost first) and `dtype`. A scalar has shape ()."""

    shape: tuple[Dim, ...]
    dtype: DType

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> Dim:
        return self.size * self.dtype.itemsize

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(format_dim, self.shape))}]"
