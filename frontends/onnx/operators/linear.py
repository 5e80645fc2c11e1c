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
    """NumPy's matmul as one contraction. A batch axis of extent 1 that meets a longer one has no letter: it is dropped."""
    if len(a.shape) == 1 or len(b.shape) == 1:
        spec = {(1, 1): "k,k->"}.get((len(a.shape), len(b.shape)))
        letters = string.ascii_lowercase[:max(len(a.shape), len(b.shape)) - 2]
        return emit(Contract(spec or (f"k,{letters}kn->{letters}n" if len(a.shape) == 1 else f"{letters}mk,k->{letters}m")), a, b)
    rank = max(len(a.shape), len(b.shape)) - 2
    batch_a, batch_b = ((1,) * (rank + 2 - len(x.shape)) + tuple(x.shape[:-2]) for x in (a, b))
    letters = [c for c in string.ascii_letters if c not in "kmn"][:rank]
    of_a, of_b, shape = "", "", []
    for letter, da, db in zip(letters, batch_a, batch_b):
        of_a += letter if da != 1 else ""
        of_b += letter if db != 1 else ""
        shape.append(da if da != 1 else db)
    a = reshape_to(a, (*(d for d in batch_a if d != 1), *a.shape[-2:]))
    b = reshape_to(b, (*(d for d in batch_b if d != 1), *b.shape[-2:]))
    out = "".join(c for c in letters if c in of_a + of_b)
    y = emit(Contract(f"{of_a}mk,{of_b}kn->{out}mn"), a, b)
    return reshape_to(y, (*shape, *y.shape[-2:]))


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
