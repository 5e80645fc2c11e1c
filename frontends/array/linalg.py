"""The Array API standard's linalg names, as far as lamina has them."""

from __future__ import annotations

from ...compiler.core.errors import UnsupportedError
from .linear_algebra import (cross, diagonal, matmul, matrix_transpose, norm, outer, tensordot, trace, vecdot,
                             vector_norm)

__all__ = ["cross", "diagonal", "matmul", "matrix_norm", "matrix_transpose", "norm", "outer", "tensordot", "trace",
           "vecdot",
           "vector_norm"]
_ABSENT = {"cholesky", "cond", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matrix_power",
           "matrix_rank",
           "multi_dot", "pinv", "qr", "slogdet", "solve", "svd", "svdvals"}


def matrix_norm(x, /, *, keepdims: bool = False, ord="fro"):
    """The norm of the matrices in the last two axes: "fro", 1, -1, inf or -inf."""
    return norm(x, ord, axis=(-2, -1), keepdims=keepdims)


def __getattr__(name: str):
    if name in _ABSENT:
        raise UnsupportedError(f"lamina compiles no lm.linalg.{name}: decompositions are left out",
                               hint=f"numpy.linalg.{name} works on arrays outside of traced functions")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
