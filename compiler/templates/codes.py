"""How are coded weights multiplied?  Widened in registers; the scale of a run of them meets their sum.

sum over k of x[k] * (code[k] - zero) * scale = scale * (sum of x[k] * code[k] - zero * sum of x[k]): a weight costs its
conversion and one multiply-add, and a byte of weights is all that memory moves. Of a byte b with two codes, the lower
one is never cut out: x0 * (b mod 16) + x1 * (b // 16) = x0 * b + (x1 - 16 * x0) * (b // 16).
"""

from __future__ import annotations

from typing import Callable

from ..core.dims import Dim
from ..core.dtypes import DType, int32
from ..kernel.builder import BlockBuilder, Expr, add, as_expr, binary, cast, constant, fma, load, mul
from ..kernel.ir import Buffer
from ..ops.dequantize import Dequantize


def accumulate_codes(block: BlockBuilder, dtype: DType, lanes: int, rows: int, padded: int, codes: Dequantize,
                     sums: tuple[int, Dim, None], left: Callable[[int, Expr], Expr],
                     right: Callable[[Expr, Expr], Expr], scale: Callable[[Expr, Expr], Expr]) -> Buffer:
    """A register buffer [rows, padded] that holds the sum over k of left(row, k) * (code(k, lane) - zero) * scale.

    `sums` is (extent, stride on the left, None), `right(number, lane)` byte `number` of a lane's codes, and
    `scale(group, lane)` the scale of a group.
    """
    extent, stride, _ = sums
    groups, per_byte = extent // codes.group, 8 // codes.bits
    total = _zeros(block, "total", dtype, lanes, rows, padded)

    def one_group(group: Expr) -> None:
        acc = _zeros(block, "acc", dtype, lanes, rows, padded)
        plain = [block.alloc("plain", dtype, (), "register") for _ in range(rows if codes.zero else 0)]
        for buffer in plain:
            block.store(buffer, (), constant(0, dtype))
        with block.loop("k", codes.group // per_byte) as k:
            byte = block.let("byte", add(mul(group, codes.group // per_byte), k))
            places = [block.let("ka", mul(add(mul(byte, per_byte), half), as_expr(stride))) for half in range(per_byte)]
            for r in range(rows):
                factors = [block.let("x", cast(dtype, left(r, at))) for at in places]
                for buffer in plain[r:r + 1]:
                    for factor in factors:
                        block.accumulate(buffer, (), "add", factor)
                if per_byte == 2:
                    factors[1] = block.let("x", fma(constant(-16, dtype), *factors))
                for half, factor in enumerate(factors):
                    with block.loop("l", padded, "vector", lanes) as lane:
                        code = cast(int32, right(byte, lane))
                        code = codes.half(code, 1) if half else code
                        block.accumulate(acc, (r, lane), "add", binary("mul", factor, cast(dtype, code)))
        for r in range(rows):
            with block.loop("l", padded, "vector", lanes) as lane:
                value = load(acc, (r, lane))
                if plain:
                    value = binary("sub", value, binary("mul", constant(codes.zero, dtype), load(plain[r], ())))
                block.accumulate(total, (r, lane), "add", binary("mul", scale(group, lane), value))
    if groups == 1:
        one_group(as_expr(0))
    else:
        with block.loop("group", groups) as group:
            one_group(group)
    return total


def _zeros(block: BlockBuilder, name: str, dtype: DType, lanes: int, rows: int, padded: int) -> Buffer:
    buffer = block.alloc(name, dtype, (rows, padded), "register")
    with block.loop("i", rows, "unroll") as i, block.loop("l", padded, "vector", lanes) as lane:
        block.store(buffer, (i, lane), constant(0, dtype))
    return buffer
