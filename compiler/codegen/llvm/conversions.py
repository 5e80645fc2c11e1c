"""How does a value change its dtype, on targets with and without the instructions?"""

from __future__ import annotations

from ...core.dtypes import DType, bfloat16, bool_, float16, float32, uint16, uint32
from .emitter import Emitter
from .values import Val, constant, register_type, suffix, vector_type


def cast(e: Emitter, x: Val, to: DType) -> Val:
    """x as dtype `to` by value; float to integer truncates and saturates, NaN gives 0. 16-bit floats go by way of
    float32."""
    source = x.dtype
    if source == to:
        return x
    if source in (float16, bfloat16):
        single = _from_bfloat16(e, x) if source == bfloat16 else _from_float16(e, x)
        return cast(e, single, to)
    if to == bfloat16:
        return _to_bfloat16(e, cast(e, x, float32))
    if to == float16:
        return _to_float16(e, _to_odd_float(e, x) if source.is_float and source != float32 else cast(e, x, float32))
    goal = vector_type(register_type(to), x.lanes)
    if to.is_bool:
        zero = constant(0, source, x.lanes)
        compare = "fcmp une" if source.is_float else "icmp ne"
        return e.value(f"{compare} {x.type} {x.text}, {zero.text}", bool_, x.lanes, x.level)
    if source.is_float and to.is_float:
        instruction = "fpext" if to.bits > source.bits else "fptrunc"
        return e.value(f"{instruction} {x.type} {x.text} to {goal}", to, x.lanes, x.level)
    if source.is_float:
        name = f"llvm.fpto{'s' if to.is_signed else 'u'}i.sat.{suffix(to, x.lanes)}.{suffix(source, x.lanes)}"
        return e.value(e.call(name, goal, f"{x.type} {x.text}"), to, x.lanes, x.level)
    if to.is_float:
        sign = "s" if source.is_signed and not source.is_bool else "u"
        return e.value(f"{sign}itofp {x.type} {x.text} to {goal}", to, x.lanes, x.level)
    if to.bits == source.bits:
        return Val(x.text, to, x.lanes, x.level)
    if to.bits < source.bits:
        return e.value(f"trunc {x.type} {x.text} to {goal}", to, x.lanes, x.level)
    extend = "zext" if source.is_bool or not source.is_signed else "sext"
    return e.value(f"{extend} {x.type} {x.text} to {goal}", to, x.lanes, x.level)


class _Bits:
    """32-bit words and floats in all lanes of `x`, step by step."""

    def __init__(self, e: Emitter, x: Val):
        self.e, self.lanes, self.level = e, x.lanes, x.level
        self.word, self.single, self.half = (vector_type(t, x.lanes) for t in ("i32", "float", "half"))

    def number(self, value: int) -> str:
        return constant(value, uint32, self.lanes).text

    def value(self, text: str, dtype: DType = uint32) -> str:
        return self.e.value(text, dtype, self.lanes, self.level).text

    def op(self, name: str, x: str, y: str | int) -> str:
        return self.value(f"{name} {self.word} {x}, {self.number(y) if isinstance(y, int) else y}")

    def compare(self, predicate: str, x: str, y: str | int) -> str:
        return self.value(f"icmp {predicate} {self.word} {x}, {self.number(y) if isinstance(y, int) else y}", bool_)

    def select(self, condition: str, x: str | int, y: str | int) -> str:
        x, y = (self.number(v) if isinstance(v, int) else v for v in (x, y))
        return self.value(f"select {vector_type('i1', self.lanes)} {condition}, {self.word} {x}, {self.word} {y}")

    def as_float(self, word: str) -> str:
        return self.value(f"bitcast {self.word} {word} to {self.single}", float32)

    def as_word(self, single: str) -> str:
        return self.value(f"bitcast {self.single} {single} to {self.word}")

    def widened(self, x: Val) -> str:
        """16 bits as words."""
        short = vector_type("i16", self.lanes)
        text = x.text
        if x.type != short:
            text = self.value(f"bitcast {x.type} {text} to {short}", uint16)
        return self.value(f"zext {short} {text} to {self.word}")

    def narrowed(self, word: str) -> str:
        return self.value(f"trunc {self.word} {word} to {vector_type('i16', self.lanes)}", uint16)


# ---- bfloat16: the upper half of a float32 ---------------------------------------------------------------------------
def _from_bfloat16(e: Emitter, x: Val) -> Val:
    b = _Bits(e, x)
    return Val(b.as_float(b.op("shl", b.widened(x), 16)), float32, x.lanes, x.level)


def _to_bfloat16(e: Emitter, x: Val) -> Val:
    """To nearest even; NaN stays a quiet NaN."""
    b = _Bits(e, x)
    bits = b.as_word(x.text)
    low = b.op("and", b.op("lshr", bits, 16), 1)
    rounded = b.op("add", bits, b.op("add", low, 0x7FFF))
    nan = b.value(f"fcmp uno {x.type} {x.text}, {x.text}", bool_)
    chosen = b.select(nan, b.op("or", bits, 0x400000), rounded)
    return Val(b.narrowed(b.op("lshr", chosen, 16)), bfloat16, x.lanes, x.level)


# ---- float16 ---------------------------------------------------------------------------------------------------------
def _from_float16(e: Emitter, x: Val) -> Val:
    if e.target.has_half_conversion:
        return e.value(f"fpext {x.type} {x.text} to {vector_type('float', x.lanes)}", float32, x.lanes, x.level)
    # The exponent is moved by a multiplication with 2^112, which is exact for denormal numbers too.
    b = _Bits(e, x)
    bits = b.widened(x)
    magnitude = b.op("and", bits, 0x7FFF)
    moved = b.as_float(b.op("shl", magnitude, 13))
    scale = constant(2.0 ** 112, float32, x.lanes).text
    scaled = b.as_word(b.value(f"fmul {b.single} {moved}, {scale}", float32))
    special = b.compare("uge", magnitude, 0x7C00)
    chosen = b.select(special, b.op("or", scaled, 0x7F800000), scaled)
    signed = b.op("or", chosen, b.op("shl", b.op("and", bits, 0x8000), 16))
    return Val(b.as_float(signed), float32, x.lanes, x.level)


def _to_float16(e: Emitter, x: Val) -> Val:
    """float32 to nearest even."""
    half = vector_type("half", x.lanes)
    if e.target.has_half_conversion:
        return e.value(f"fptrunc {x.type} {x.text} to {half}", float16, x.lanes, x.level)
    b = _Bits(e, x)
    bits = b.as_word(x.text)
    magnitude = b.op("and", bits, 0x7FFFFFFF)
    odd = b.op("and", b.op("lshr", magnitude, 13), 1)
    # the exponent less 112, and half a unit
    normal = b.op("lshr", b.op("add", b.op("add", magnitude, odd), 0xC8000FFF), 13)
    # Added to 0.5 the bits of a denormal result end up at the bottom, rounded by the addition.
    moved = b.value(f"fadd {b.single} {b.as_float(magnitude)}, {constant(0.5, float32, x.lanes).text}", float32)
    denormal = b.op("sub", b.as_word(moved), 0x3F000000)
    finite = b.select(b.compare("ult", magnitude, 0x38800000), denormal, normal)
    special = b.select(b.compare("ugt", magnitude, 0x7F800000), 0x7E00, 0x7C00)
    chosen = b.select(b.compare("uge", magnitude, 0x47800000), special, finite)
    signed = b.op("or", chosen, b.op("lshr", b.op("and", bits, 0x80000000), 16))
    short = b.narrowed(signed)
    return e.value(f"bitcast {vector_type('i16', x.lanes)} {short} to {half}", float16, x.lanes, x.level)


def _to_odd_float(e: Emitter, x: Val) -> Val:
    """float64 to float32 rounded to odd, so that rounding once more is as good as rounding once (Boldo and Melquiond
    2008)."""
    b = _Bits(e, x)
    double = x.type

    def magnitude(text: str) -> str:
        return b.value(e.call(f"llvm.fabs.{suffix(x.dtype, x.lanes)}", double, f"{double} {text}"), x.dtype)
    single = b.value(f"fptrunc {double} {x.text} to {b.single}", float32)
    back = b.value(f"fpext {b.single} {single} to {double}", x.dtype)
    inexact = b.value(f"fcmp one {double} {back}, {x.text}", bool_)
    bits = b.as_word(single)
    above = b.value(f"fcmp ogt {double} {magnitude(back)}, {magnitude(x.text)}", bool_)
    odd = b.op("or", b.op("sub", bits, b.select(above, 1, 0)), 1)
    return Val(b.as_float(b.select(inexact, odd, bits)), float32, x.lanes, x.level)
