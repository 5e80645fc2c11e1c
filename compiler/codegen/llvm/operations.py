"""How does an operation on values become LLVM instructions?  The same ones for one lane or many."""

from __future__ import annotations

from ...core.dtypes import bool_
from ...core.errors import CompilerError
from .emitter import Emitter
from .remainder import remainder
from .values import Val, constant, register_type, suffix, vector_type

_INTEGER = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}


def splat(e: Emitter, value: Val, lanes: int) -> Val:
    """`value` in every lane."""
    if value.lanes == lanes:
        return value
    if value.lanes != 1:
        raise CompilerError(f"a value of {value.lanes} lanes where {lanes} are needed")
    if not value.text.startswith("%"):
        return Val(f"splat ({register_type(value.dtype)} {value.text})", value.dtype, lanes, 0)
    key = ("splat", value.text, lanes)
    known = e.remembered(key)
    if known is not None:
        return known
    vector = vector_type(register_type(value.dtype), lanes)
    first = e.value(f"insertelement {vector} poison, {value.type} {value.text}, i64 0", value.dtype, lanes, value.level)
    full = e.value(f"shufflevector {vector} {first.text}, {vector} poison, <{lanes} x i32> zeroinitializer", value.dtype, lanes,
                   value.level)
    e.remember(key, full, None)
    return full


def together(e: Emitter, *values: Val) -> tuple[list[Val], int, int]:
    """(`values` with as many lanes as the widest, these lanes, the level at which all are there)."""
    lanes = max(v.lanes for v in values)
    return [splat(e, v, lanes) for v in values], lanes, max(v.level for v in values)


def select(e: Emitter, condition: Val, x: Val, y: Val) -> Val:
    lanes = max(condition.lanes, x.lanes, y.lanes)
    x, y = splat(e, x, lanes), splat(e, y, lanes)
    level = max(condition.level, x.level, y.level)
    return e.value(f"select {condition.type} {condition.text}, {x.type} {x.text}, {y.type} {y.text}", x.dtype, lanes, level)


def fma(e: Emitter, x: Val, y: Val, z: Val) -> Val:
    """x * y + z with one rounding; on a target without FMA, two."""
    if z.dtype.is_integer:
        return binary(e, "add", binary(e, "mul", x, y), z)
    (x, y, z), lanes, level = together(e, x, y, z)
    name = f"llvm.{'fma' if e.target.has_fma else 'fmuladd'}.{suffix(z.dtype, lanes)}"
    return e.value(e.call(name, z.type, f"{x.type} {x.text}, {y.type} {y.text}, {z.type} {z.text}"), z.dtype, lanes, level)


def binary(e: Emitter, op: str, x: Val, y: Val, positive_divisor: bool = False, x_known: bool = False, y_known: bool = False) -> Val:
    """x `op` y. `positive_divisor` and `known` (constant, and not NaN) save what guards the other cases."""
    (x, y), lanes, level = together(e, x, y)
    dtype = x.dtype
    if op in ("min", "max"):
        return _extremum(e, op, x, y, x_known, y_known)
    if dtype.is_float and op in ("rem", "mod"):
        return remainder(e, op, x, y)
    if dtype.is_float:
        return e.value(f"{_FLOAT[op]} {x.type} {x.text}, {y.text}", dtype, lanes, level)
    if op in _INTEGER:
        if dtype.is_bool:
            op = {"add": "or", "mul": "and"}.get(op, op)
        return e.value(f"{_INTEGER[op]} {x.type} {x.text}, {y.text}", dtype, lanes, level)
    if op in ("shl", "shr"):
        return _shift(e, op, x, y)
    return _divide(e, op, x, y, positive_divisor)


def _extremum(e: Emitter, op: str, x: Val, y: Val, x_known: bool, y_known: bool) -> Val:
    """min or max. One compare and select map to one vector instruction, which returns its second operand for NaN."""
    dtype, lanes, level = x.dtype, x.lanes, max(x.level, y.level)
    if dtype.is_bool:
        return e.value(f"{'or' if op == 'max' else 'and'} {x.type} {x.text}, {y.text}", dtype, lanes, level)
    if not dtype.is_float:
        sign = "s" if dtype.is_signed else "u"
        name = f"llvm.{sign}{op}.{suffix(dtype, lanes)}"
        return e.value(e.call(name, x.type, f"{x.type} {x.text}, {y.type} {y.text}"), dtype, lanes, level)
    if y_known and not x_known:
        x, y, x_known = y, x, True
    predicate = "ogt" if op == "max" else "olt"
    chosen = e.value(f"fcmp {predicate} {x.type} {x.text}, {y.text}", bool_, lanes, level)
    best = e.value(f"select {chosen.type} {chosen.text}, {x.type} {x.text}, {y.type} {y.text}", dtype, lanes, level)
    if x_known:
        return best
    nan = e.value(f"fcmp uno {x.type} {x.text}, {x.text}", bool_, lanes, x.level)
    return e.value(f"select {nan.type} {nan.text}, {x.type} {x.text}, {x.type} {best.text}", dtype, lanes, level)


def _shift(e: Emitter, op: str, x: Val, y: Val) -> Val:
    lanes, level, bits = x.lanes, max(x.level, y.level), x.dtype.bits
    limit = constant(bits - 1, x.dtype, lanes)
    inside = e.value(f"icmp ule {y.type} {y.text}, {limit.text}", bool_, lanes, y.level)
    safe = select(e, inside, y, limit)
    kind = "shl" if op == "shl" else ("ashr" if x.dtype.is_signed else "lshr")
    shifted = e.value(f"{kind} {x.type} {x.text}, {safe.text}", x.dtype, lanes, level)
    return shifted if kind == "ashr" else select(e, inside, shifted, constant(0, x.dtype, lanes))


def _divide(e: Emitter, op: str, x: Val, y: Val, positive_divisor: bool) -> Val:
    """div, rem (truncating), floordiv, mod (flooring) of integers; by zero they give 0, and nothing traps."""
    dtype, lanes, level = x.dtype, x.lanes, max(x.level, y.level)
    if not dtype.is_signed:
        one, zero = constant(1, dtype, lanes), constant(0, dtype, lanes)
        instruction = "udiv" if op in ("div", "floordiv") else "urem"
        if positive_divisor:
            return e.value(f"{instruction} {x.type} {x.text}, {y.text}", dtype, lanes, level)
        by_zero = e.value(f"icmp eq {y.type} {y.text}, {zero.text}", bool_, lanes, y.level)
        result = e.value(f"{instruction} {x.type} {x.text}, {select(e, by_zero, one, y).text}", dtype, lanes, level)
        return select(e, by_zero, zero, result)
    zero = constant(0, dtype, lanes)
    if positive_divisor:
        quotient = e.value(f"sdiv {x.type} {x.text}, {y.text}", dtype, lanes, level)
        remainder = binary(e, "sub", x, binary(e, "mul", quotient, y))
        if op == "div":
            return quotient
        if op == "rem":
            return remainder
        below = e.value(f"icmp slt {x.type} {remainder.text}, {zero.text}", bool_, lanes, level)
        if op == "floordiv":
            return select(e, below, binary(e, "sub", quotient, constant(1, dtype, lanes)), quotient)
        return select(e, below, binary(e, "add", remainder, y), remainder)
    # A divisor of 0 or -1 is replaced by 1 before the instruction (both can trap) and put right after it.
    by_zero = e.value(f"icmp eq {y.type} {y.text}, {zero.text}", bool_, lanes, y.level)
    minus = constant(-1, dtype, lanes)
    by_minus = e.value(f"icmp eq {y.type} {y.text}, {minus.text}", bool_, lanes, y.level)
    either = e.value(f"or {by_zero.type} {by_zero.text}, {by_minus.text}", bool_, lanes, y.level)
    safe = select(e, either, constant(1, dtype, lanes), y)
    quotient = e.value(f"sdiv {x.type} {x.text}, {safe.text}", dtype, lanes, level)
    negated = binary(e, "sub", zero, x)
    quotient = select(e, by_minus, negated, quotient)
    remainder = binary(e, "sub", x, binary(e, "mul", quotient, y))
    if op in ("floordiv", "mod"):
        nonzero = e.value(f"icmp ne {x.type} {remainder.text}, {zero.text}", bool_, lanes, level)
        mixed = e.value(f"xor {x.type} {remainder.text}, {y.text}", dtype, lanes, level)
        opposite = e.value(f"icmp slt {x.type} {mixed.text}, {zero.text}", bool_, lanes, level)
        fix = e.value(f"and {nonzero.type} {nonzero.text}, {opposite.text}", bool_, lanes, level)
        quotient = select(e, fix, binary(e, "sub", quotient, constant(1, dtype, lanes)), quotient)
        remainder = select(e, fix, binary(e, "add", remainder, y), remainder)
    return select(e, by_zero, zero, quotient if op in ("div", "floordiv") else remainder)


def integer_power(e: Emitter, x: Val, y: Val) -> Val:
    """x ** y by squaring, one step for each bit of the exponent: no branch, so lanes may differ."""
    (x, y), lanes, _ = together(e, x, y)
    dtype = x.dtype
    one, zero = constant(1, dtype, lanes), constant(0, dtype, lanes)
    result, power, exponent = one, x, y
    for _ in range(dtype.bits - (1 if dtype.is_signed else 0)):
        bit = e.value(f"and {y.type} {exponent.text}, {one.text}", dtype, lanes, exponent.level)
        odd = e.value(f"icmp ne {y.type} {bit.text}, {zero.text}", bool_, lanes, bit.level)
        result = select(e, odd, binary(e, "mul", result, power), result)
        power = binary(e, "mul", power, power)
        exponent = e.value(f"lshr {y.type} {exponent.text}, {one.text}", dtype, lanes, exponent.level)
    if not dtype.is_signed:
        return result
    negative = e.value(f"icmp slt {y.type} {y.text}, {zero.text}", bool_, lanes, y.level)
    minus = constant(-1, dtype, lanes)
    bit = e.value(f"and {y.type} {y.text}, {one.text}", dtype, lanes, y.level)
    odd = e.value(f"icmp ne {y.type} {bit.text}, {zero.text}", bool_, lanes, y.level)
    is_one = e.value(f"icmp eq {x.type} {x.text}, {one.text}", bool_, lanes, x.level)
    is_minus = e.value(f"icmp eq {x.type} {x.text}, {minus.text}", bool_, lanes, x.level)
    below = select(e, is_one, one, select(e, is_minus, select(e, odd, minus, one), zero))
    return select(e, negative, below, result)
