"""Matrix products and contractions: letters in place of transposes."""

from __future__ import annotations

import string

from ....compiler.core.dtypes import int32
from ....compiler.ops import Contract
from ... import array as lm
from ...array.operands import cast, dtype_of
from ...array.tracer import emit
from ..table import operator
from .shape import reshape_to


@operator("Gemm", 7)
def gemm(a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):
    """alpha * a @ b + beta * c."""
    y = emit(Contract(f"{'ki' if transA else 'ik'},{'jk' if transB else 'kj'}->ij"), a, b)
    y = y if alpha == 1.0 else _scaled(y, alpha)
    return y if c is None or beta == 0.0 else y + (c if beta == 1.0 else _scaled(c, beta))


def _scaled(x, factor: float):
    return x * factor if dtype_of(x).is_float else cast(cast(x, lm.float32) * factor, dtype_of(x))


@operator("Gemm", 1)
def gemm_1(a, b, c, *, alpha=1.0, beta=1.0, broadcast=0, transA=0, transB=0):
    return gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)


@operator("MatMul")
def matmul(a, b):
    """NumPy's matmul as one contraction. A batch axis of extent 1 that meets a longer one is dropped."""
    rank = max(len(a.shape), len(b.shape), 2) - 2
    letters = [c for c in string.ascii_letters if c not in "kmn"][:rank]
    batch_a, batch_b = tuple(a.shape[:-2]), tuple(b.shape[:-2])
    a, of_a = _without_ones(a, letters[rank - len(batch_a):], batch_b)
    b, of_b = _without_ones(b, letters[rank - len(batch_b):], batch_a)
    row, column = "m" * (len(a.shape) - len(of_a) == 2), "n" * (len(b.shape) - len(of_b) == 2)
    out = "".join(c for c in letters if c in of_a + of_b)
    return emit(Contract(f"{of_a}{row}k,{of_b}k{column}->{out}{row}{column}"), a, b)


def _without_ones(x, letters: list[str], other: tuple):
    """`x` without the batch axes of extent 1 that meet a longer one in `other`, and the letters of those left."""
    batch = tuple(x.shape[:-2])
    aligned = (1,) * (len(batch) - len(other)) + other
    meets = aligned[len(aligned) - len(batch):]
    kept = [d != 1 or m == 1 for d, m in zip(batch, meets)]
    shape = (*(d for d, keep in zip(batch, kept) if keep), *x.shape[len(batch):])
    return reshape_to(x, shape), "".join(c for c, keep in zip(letters, kept) if keep)


@operator("Einsum", 12)
def einsum(*operands, equation):
    return lm.einsum(equation.replace(" ", ""), *operands)


@operator("MatMulInteger", 10)
def matmul_integer(a, b, zero_a=None, zero_b=None):
    """The product of (a - zero_a) and (b - zero_b) in int32; a zero point per row of a, per column of b."""
    return matmul(shifted(a, zero_a, row=True), shifted(b, zero_b))


def shifted(x, zero, row: bool = False):
    """x - zero in int32; a vector of zero points belongs to the rows of x where `row`, else to its columns."""
    x = cast(x, int32)
    if zero is None:
        return x
    zero = cast(zero, int32)
    if row and len(zero.shape) == 1 and len(x.shape) > 1:
        zero = reshape_to(zero, (*zero.shape, 1))
    return x - zero
