"""How is the remainder of floats computed, exactly, without a library?  A loop over all lanes that takes many quotient
bits a step.

No processor here has the instruction. For r = |x| and d = |y| each step subtracts q * s, s = d * 2^k as large as lets
the quotient q = trunc(r / s) be exact to one unit; r - q * s is a multiple of s's last bit and smaller than s, so it is
exact. Most operands take one step; quotients of up to 2^2098 take 42.
"""

from __future__ import annotations

from ...core.dtypes import DType, bool_, float32, float64, int64
from ...core.errors import CompilerError
from .emitter import Emitter
from .values import Val, constant, suffix, vector_type

_TEMPLATE = """define internal DOUBLE @NAME(DOUBLE %x, DOUBLE %y) #0 {
entry:
  %big = call DOUBLE @llvm.fabs.SUFFIX(DOUBLE %x)
  %divisor = call DOUBLE @llvm.fabs.SUFFIX(DOUBLE %y)
  %finite = fcmp olt DOUBLE %big, C(0x7FF0000000000000)
  %nonzero = fcmp ogt DOUBLE %divisor, C(0x0)
  %valid = and BOOL %finite, %nonzero
  %r.start = select BOOL %valid, DOUBLE %big, DOUBLE C(0x0)
  %d = select BOOL %valid, DOUBLE %divisor, DOUBLE C(0x3FF0000000000000)
  %d.small = fcmp olt DOUBLE %d, C(0x0010000000000000)
  %d.scaled = fmul DOUBLE %d, C(0x4350000000000000)
  %d.normal = select BOOL %d.small, DOUBLE %d.scaled, DOUBLE %d
  %d.bits = bitcast DOUBLE %d.normal to LONG
  %d.field = lshr LONG %d.bits, I(52)
  %d.less = sub LONG %d.field, I(54)
  %d.exponent = select BOOL %d.small, LONG %d.less, LONG %d.field
  br label %head

head:
  %r = phi DOUBLE [ %r.start, %entry ], [ %r.next, %step ]
  %go = fcmp oge DOUBLE %r, %d
ANY
  br i1 %any, label %step, label %done

step:
  %r.small = fcmp olt DOUBLE %r, C(0x0010000000000000)
  %r.scaled = fmul DOUBLE %r, C(0x4350000000000000)
  %r.normal = select BOOL %r.small, DOUBLE %r.scaled, DOUBLE %r
  %r.bits = bitcast DOUBLE %r.normal to LONG
  %r.field = lshr LONG %r.bits, I(52)
  %r.less = sub LONG %r.field, I(54)
  %r.exponent = select BOOL %r.small, LONG %r.less, LONG %r.field
  %apart = sub LONG %r.exponent, %d.exponent
  %shift = sub LONG %apart, I(BITS)
  %k = call LONG @llvm.smax.INTEGER(LONG %shift, LONG I(0))
  %k1 = call LONG @llvm.smin.INTEGER(LONG %k, LONG I(1000))
  %rest = sub LONG %k, %k1
  %k2 = call LONG @llvm.smin.INTEGER(LONG %rest, LONG I(1000))
  %k3 = sub LONG %rest, %k2
POWERS
  %q.exact = fdiv DOUBLE %r, %s
  %q = call DOUBLE @llvm.trunc.SUFFIX(DOUBLE %q.exact)
SUBTRACT
  %negative = fcmp olt DOUBLE %left, C(0x0)
  %mended = fadd DOUBLE %left, %s
  %reduced = select BOOL %negative, DOUBLE %mended, DOUBLE %left
  %r.next = select BOOL %go, DOUBLE %reduced, DOUBLE %r
  br label %head

done:
  %x.bits = bitcast DOUBLE %x to LONG
  %sign = and LONG %x.bits, I(-9223372036854775808)
  %out.bits = bitcast DOUBLE %r to LONG
  %signed = or LONG %out.bits, %sign
  %out = bitcast LONG %signed to DOUBLE
  %result = select BOOL %valid, DOUBLE %out, DOUBLE C(0x7FF8000000000000)
  ret DOUBLE %result
}"""

_POWER = """  %e{i} = add LONG %k{i}, I(1023)
  %b{i} = shl LONG %e{i}, I(52)
  %p{i} = bitcast LONG %b{i} to DOUBLE
  {to} = fmul DOUBLE {of}, %p{i}"""

_FUSED = """  %q.minus = fneg DOUBLE %q
  %left = call DOUBLE @llvm.fma.SUFFIX(DOUBLE %q.minus, DOUBLE %s, DOUBLE %r)"""

# Without FMA the divisor is cut in two, so that both products are exact.
_SPLIT = """  %s.bits = bitcast DOUBLE %s to LONG
  %s.cut = and LONG %s.bits, I(-134217728)
  %s.high = bitcast LONG %s.cut to DOUBLE
  %s.low = fsub DOUBLE %s, %s.high
  %high = fmul DOUBLE %q, %s.high
  %low = fmul DOUBLE %q, %s.low
  %upper = fsub DOUBLE %r, %high
  %left = fsub DOUBLE %upper, %low"""


def _function(name: str, lanes: int, has_fma: bool) -> str:
    """The text of `NAME(x, y)`: the remainder with the sign of x, for `lanes` doubles."""
    steps = (1, "%d", "%s1"), (2, "%s1", "%s2"), (3, "%s2", "%s")
    powers = "\n".join(_POWER.format(i=i, of=of, to=to) for i, of, to in steps)
    any_lane = ("  %any = or i1 %go, false" if lanes == 1 else
                f"  %going = bitcast BOOL %go to i{lanes}\n  %any = icmp ne i{lanes} %going, 0")
    text = _TEMPLATE.replace("POWERS", powers).replace("ANY", any_lane)
    text = text.replace("SUBTRACT", _FUSED if has_fma else _SPLIT)
    text = text.replace("BITS", "51" if has_fma else "25").replace("NAME", name)
    text = text.replace("SUFFIX", suffix(float64, lanes)).replace("INTEGER", suffix(int64, lanes))
    for word, element in (("DOUBLE", "double"), ("LONG", "i64"), ("BOOL", "i1")):
        text = text.replace(word, vector_type(element, lanes))
    return _constants(text, lanes)


def _constants(text: str, lanes: int) -> str:
    """C(bits) and I(number) as constants of all lanes."""
    import re
    for letter, element in (("C", "double"), ("I", "i64")):
        form = rf"splat ({element} \1)" if lanes > 1 else r"\1"
        text = re.sub(rf"\b{letter}\(([^)]*)\)", form, text)
    return text


def remainder(e: Emitter, op: str, x: Val, y: Val) -> Val:
    """x rem y (the sign of x) or x mod y (the sign of y) of float32 or float64; NaN where x is infinite or y is 0."""
    dtype, lanes, level = x.dtype, x.lanes, max(x.level, y.level)
    if dtype not in (float32, float64):
        raise CompilerError(f"no remainder of {dtype.name}")
    double = vector_type("double", lanes)
    a, b = (v if dtype == float64 else e.value(f"fpext {v.type} {v.text} to {double}", float64, lanes, v.level)
            for v in (x, y))
    name = f"lamina.remainder.{suffix(float64, lanes)}"
    text = _function(name, lanes, e.target.has_fma)
    e.declarations.add(text)
    long = vector_type("i64", lanes)
    for name_of, kind, count in (("fabs", double, 1), ("trunc", double, 1), ("fma", double, 3), ("smax", long, 2),
                                 ("smin", long, 2)):
        e.call(f"llvm.{name_of}.{suffix(float64 if kind == double else int64, lanes)}", kind,
               ", ".join([f"{kind} poison"] * count))
    rest = e.value(f"call {double} @{name}({double} {a.text}, {double} {b.text})", float64, lanes, level)
    if dtype == float32:
        rest = e.value(f"fptrunc {double} {rest.text} to {x.type}", dtype, lanes, level)
    return rest if op == "rem" else _with_sign_of(e, rest, y)


def _with_sign_of(e: Emitter, rest: Val, y: Val) -> Val:
    """Python's remainder from C's: y is added where the signs differ; a zero takes y's sign."""
    dtype, lanes, level = rest.dtype, rest.lanes, max(rest.level, y.level)
    zero = constant(0.0, dtype, lanes)
    integer = vector_type(f"i{dtype.bits}", lanes)

    def value(text: str, of: DType = dtype) -> Val:
        return e.value(text, of, lanes, level)
    below = value(f"fcmp olt {rest.type} {rest.text}, {zero.text}", bool_)
    y_below = value(f"fcmp olt {y.type} {y.text}, {zero.text}", bool_)
    differ = value(f"xor {below.type} {below.text}, {y_below.text}", bool_)
    added = value(f"fadd {rest.type} {rest.text}, {y.text}")
    result = value(f"select {differ.type} {differ.text}, {rest.type} {added.text}, {rest.type} {rest.text}")
    bits = "%" + e.fresh()
    e.line(f"  {bits} = bitcast {y.type} {y.text} to {integer}", level)
    masked = "%" + e.fresh()
    minus = -(1 << (dtype.bits - 1))
    mask = str(minus) if lanes == 1 else f"splat (i{dtype.bits} {minus})"
    e.line(f"  {masked} = and {integer} {bits}, {mask}", level)
    signed_zero = value(f"bitcast {integer} {masked} to {rest.type}")
    is_zero = value(f"fcmp oeq {rest.type} {rest.text}, {zero.text}", bool_)
    return value(f"select {is_zero.type} {is_zero.text}, {rest.type} {signed_zero.text}, {rest.type} {result.text}")
