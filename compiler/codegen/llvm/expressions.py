"""How does each Kernel expression become LLVM instructions, for one lane or many?"""

from __future__ import annotations

from ...core.dtypes import DType, bool_, int32, int64
from ...core.errors import CompilerError
from ...kernel.builder import add, as_expr, binary as index_arithmetic, mul
from ...kernel.ir import Binary, Bitcast, Buffer, Cast, Compare, Const, Expr, Fma, Load, Select, Unary, Var
from ...lower.math import EXPANDED, expand
from .conversions import cast
from .emitter import Emitter
from .remainder import remainder
from .shuffles import gather_lanes
from .values import Val, constant, memory_type, register_type, suffix, vector_type

_INTEGER = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_ROUNDING = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "roundeven"}
_PREDICATE = {"eq": ("oeq", "eq", "eq"), "ne": ("une", "ne", "ne"), "lt": ("olt", "slt", "ult"), "le": ("ole", "sle", "ule"),
              "gt": ("ogt", "sgt", "ugt"), "ge": ("oge", "sge", "uge")}


def evaluate(e: Emitter, expr: Expr, lane_zero: bool = False) -> Val:
    """The value of `expr`: one for each lane where it varies, else one for all. `lane_zero` asks for the first lane's only."""
    if isinstance(expr, Const):
        return constant(expr.value, expr.dtype)
    key = e.memo_key(expr, lane_zero)
    if key is not None:
        known = e.remembered(key)
        if known is not None:
            return known
    value = _emit(e, expr, lane_zero)
    if key is not None:
        e.remember(key, value, expr)
    return value


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


def _together(e: Emitter, *values: Val) -> tuple[list[Val], int, int]:
    lanes = max(v.lanes for v in values)
    return [splat(e, v, lanes) for v in values], lanes, max(v.level for v in values)


def _emit(e: Emitter, expr: Expr, lane_zero: bool) -> Val:
    if isinstance(expr, Var):
        return _variable(e, expr, lane_zero)
    if isinstance(expr, Load):
        return load(e, expr, lane_zero)
    if isinstance(expr, Unary):
        return _unary(e, expr, lane_zero)
    if isinstance(expr, Binary):
        return _binary(e, expr, lane_zero)
    if isinstance(expr, Compare):
        (x, y), lanes, level = _together(e, evaluate(e, expr.x, lane_zero), evaluate(e, expr.y, lane_zero))
        predicate = _PREDICATE[expr.op][0 if x.dtype.is_float else (1 if x.dtype.is_signed else 2)]
        kind = "fcmp" if x.dtype.is_float else "icmp"
        return e.value(f"{kind} {predicate} {x.type} {x.text}, {y.text}", bool_, lanes, level)
    if isinstance(expr, Select):
        return select(e, evaluate(e, expr.condition, lane_zero), evaluate(e, expr.x, lane_zero), evaluate(e, expr.y, lane_zero))
    if isinstance(expr, Fma):
        return fma(e, *(evaluate(e, x, lane_zero) for x in (expr.x, expr.y, expr.z)))
    if isinstance(expr, Cast):
        if not lane_zero and expr.dtype == int32 and (step := _affine(e, expr.x)) is not None and abs(step) < 1 << 24:
            return _ramp(e, cast(e, evaluate(e, expr.x, True), int32), step)  # one short vector instead of a long one cut down
        return cast(e, evaluate(e, expr.x, lane_zero), expr.dtype)
    if isinstance(expr, Bitcast):
        x = evaluate(e, expr.x, lane_zero)
        target = vector_type(register_type(expr.dtype), x.lanes)
        if target == x.type:
            return Val(x.text, expr.dtype, x.lanes, x.level)
        return e.value(f"bitcast {x.type} {x.text} to {target}", expr.dtype, x.lanes, x.level)
    raise CompilerError(f"no LLVM form for {type(expr).__name__}")


def _variable(e: Emitter, var: Var, lane_zero: bool) -> Val:
    value = e.bindings[var.name]
    if e.vector is None or var.name not in e.varying:
        return value
    if var.name == e.vector.var.name:
        if lane_zero:
            return value
        return _ramp(e, value, 1)
    if lane_zero:
        definition = e.definitions.get(var.name)
        if definition is not None:
            return evaluate(e, definition, True)
        return e.value(f"extractelement {value.type} {value.text}, i64 0", value.dtype, 1, value.level)
    return evaluate(e, e.definitions[var.name]) if value is None else value


def _ramp(e: Emitter, first: Val, step: int) -> Val:
    """first, first + step, first + 2 step ... in the lanes of the vector loop."""
    lanes, kind = e.vector.width, register_type(first.dtype)
    ramp = "<" + ", ".join(f"{kind} {i * step}" for i in range(lanes)) + ">"
    base = splat(e, first, lanes)
    return e.value(f"add {base.type} {base.text}, {ramp}", first.dtype, lanes, first.level)


def _affine(e: Emitter, expr: Expr) -> int | None:
    """The step from lane to lane of an int64 expression, where it is the same for all."""
    return e.coefficient(expr) if e.vector is not None and expr.dtype == int64 and e.varies(expr) else None


def select(e: Emitter, condition: Val, x: Val, y: Val) -> Val:
    lanes = max(condition.lanes, x.lanes, y.lanes)
    x, y = splat(e, x, lanes), splat(e, y, lanes)
    level = max(condition.level, x.level, y.level)
    return e.value(f"select {condition.type} {condition.text}, {x.type} {x.text}, {y.type} {y.text}", x.dtype, lanes, level)


def fma(e: Emitter, x: Val, y: Val, z: Val) -> Val:
    """x * y + z with one rounding; on a target without FMA, two."""
    if z.dtype.is_integer:
        return binary(e, "add", binary(e, "mul", x, y), z)
    (x, y, z), lanes, level = _together(e, x, y, z)
    name = f"llvm.{'fma' if e.target.has_fma else 'fmuladd'}.{suffix(z.dtype, lanes)}"
    return e.value(e.call(name, z.type, f"{x.type} {x.text}, {y.type} {y.text}, {z.type} {z.text}"), z.dtype, lanes, level)


# ---- unary and binary ------------------------------------------------------------------------------------------------
def _expanded(e: Emitter, op: str, operands: tuple[Expr, ...]) -> Val:
    """A function that no instruction computes: its recipe, evaluated step by step."""
    def let(name: str, value: Expr) -> Expr:
        if isinstance(value, (Const, Var)):
            return value
        var = Var(e.fresh("m."), value.dtype)
        result = evaluate(e, value)
        e.bind(var, result, varies=result.lanes > 1)
        return var
    return evaluate(e, expand(op, tuple(let("x", x) for x in operands), let))


def _unary(e: Emitter, expr: Unary, lane_zero: bool) -> Val:
    if expr.op in EXPANDED:
        return _expanded(e, expr.op, (expr.x,))
    x = evaluate(e, expr.x, lane_zero)
    zero = constant(0, x.dtype, x.lanes)
    if expr.op == "neg":
        text = f"fneg {x.type} {x.text}" if x.dtype.is_float else f"sub {x.type} {zero.text}, {x.text}"
    elif expr.op == "abs" and x.dtype.is_float:
        text = e.call(f"llvm.fabs.{suffix(x.dtype, x.lanes)}", x.type, f"{x.type} {x.text}")
    elif expr.op == "abs":
        if not x.dtype.is_signed:
            return x
        text = e.call(f"llvm.abs.{suffix(x.dtype, x.lanes)}", x.type, f"{x.type} {x.text}, i1 false")
    elif expr.op == "sqrt":
        text = e.call(f"llvm.sqrt.{suffix(x.dtype, x.lanes)}", x.type, f"{x.type} {x.text}")
    elif expr.op == "not":
        ones = constant(True, x.dtype, x.lanes) if x.dtype.is_bool else constant(-1, x.dtype, x.lanes)
        text = f"xor {x.type} {x.text}, {ones.text}"
    elif expr.op in _ROUNDING:
        text = e.call(f"llvm.{_ROUNDING[expr.op]}.{suffix(x.dtype, x.lanes)}", x.type, f"{x.type} {x.text}")
    else:
        raise CompilerError(f"no LLVM form for {expr.op}")
    return e.value(text, x.dtype, x.lanes, x.level)


def _binary(e: Emitter, expr: Binary, lane_zero: bool) -> Val:
    if expr.dtype.is_float and expr.op in EXPANDED and expr.op not in ("rem", "mod"):  # those have a loop of their own here
        return _expanded(e, expr.op, (expr.x, expr.y))
    if not lane_zero and (step := _affine(e, expr)) is not None:
        return _ramp(e, evaluate(e, expr, True), step)
    x, y = evaluate(e, expr.x, lane_zero), evaluate(e, expr.y, lane_zero)
    positive_divisor = isinstance(expr.y, Const) and expr.y.value > 0
    if expr.op == "pow":
        return _integer_power(e, x, y)
    return binary(e, expr.op, x, y, positive_divisor, _is_number(expr.x), _is_number(expr.y))


def _is_number(expr: Expr) -> bool:
    """Whether an expression is a constant, and not NaN."""
    return isinstance(expr, Const) and expr.value == expr.value


def binary(e: Emitter, op: str, x: Val, y: Val, positive_divisor: bool = False, x_known: bool = False, y_known: bool = False) -> Val:
    (x, y), lanes, level = _together(e, x, y)
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


def _integer_power(e: Emitter, x: Val, y: Val) -> Val:
    """x ** y by squaring, one step for each bit of the exponent: no branch, so lanes may differ."""
    (x, y), lanes, level = _together(e, x, y)
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


# ---- memory -----------------------------------------------------------------------------------------------------------
def linear_index(buffer: Buffer, index: tuple[Expr, ...]) -> Expr:
    """The element offset of buffer[index]."""
    total: Expr = Const(0, int64)
    for i, stride in zip(index, buffer.strides):
        total = add(total, mul(i, as_expr(stride)))
    return total


def register_offset(e: Emitter, buffer: Buffer, index: tuple[Expr, ...]) -> int:
    """The constant slot of a register buffer's element (of its first lane)."""
    total = 0
    for i, stride in zip(index, buffer.strides):
        position = evaluate(e, i, True)
        if position.text.startswith("%"):
            raise CompilerError(f"register buffer {buffer.name!r} is indexed by a value that is not constant after unrolling")
        total += int(position.text) * stride
    return total


def written_offset(e: Emitter, buffer: Buffer, index: tuple[Expr, ...]) -> int:
    """`register_offset` for what is written: lanes lie side by side."""
    if any(e.varies(i) for i in index) and e.coefficient(linear_index(buffer, index)) != 1:
        raise CompilerError(f"lanes of register buffer {buffer.name!r} are written that are no neighbours")
    return register_offset(e, buffer, index)


def _lane_offsets(e: Emitter, buffer: Buffer, index: tuple[Expr, ...]) -> list[int]:
    """The slot of a register buffer that each lane reads."""
    def number(expr: Expr, lane: int) -> int:
        if isinstance(expr, Const):
            return expr.value
        if isinstance(expr, Var):
            value = e.bindings[expr.name]
            if value is not None and not value.text.startswith("%"):
                return int(value.text) + (lane if expr.name == e.vector.var.name else 0)
            if expr.name in e.definitions:
                return number(e.definitions[expr.name], lane)
        if isinstance(expr, Binary):
            folded = index_arithmetic(expr.op, Const(number(expr.x, lane), int64), Const(number(expr.y, lane), int64))
            if isinstance(folded, Const):
                return folded.value
        raise CompilerError(f"register buffer {buffer.name!r} is indexed by a value that is not constant after unrolling")
    return [sum(number(i, lane) * stride for i, stride in zip(index, buffer.strides)) for lane in range(e.vector.width)]


def address(e: Emitter, buffer: Buffer, index: tuple[Expr, ...]) -> Val:
    """The address of buffer[index] (of the first lane's element)."""
    key = ("index", id(buffer), *map(id, index))
    cached = e._free.get(key)
    if cached is None:
        cached = e._free[key] = (linear_index(buffer, index), buffer, index)
    offset = evaluate(e, cached[0], True)
    base = e.pointer(buffer)
    if offset.text == "0":
        return base
    level = max(offset.level, base.level)
    address_key = ("address", id(buffer), offset.text)
    known = e.remembered(address_key)
    if known is None:
        known = e.value(f"getelementptr inbounds {memory_type(buffer.dtype)}, ptr {base.text}, i64 {offset.text}", int64, 1, level)
        e.remember(address_key, known, None)
    return known


def load_level(e: Emitter, buffer: Buffer, level: int) -> int:
    """How far out a load may move: never out of a branch, and not at all where this kernel writes the buffer."""
    if id(buffer) in e.written or buffer.space != "global":
        return e.level
    for depth in range(e.level, level, -1):
        if e.frames[depth].kind == "if":
            return depth
    return level


def load(e: Emitter, expr: Load, lane_zero: bool) -> Val:
    buffer = expr.buffer
    if buffer.space == "register":
        return _register(e, buffer, expr, lane_zero)
    lanes = 1
    if e.vector is not None and not lane_zero and any(e.varies(i) for i in expr.index):
        lanes = e.vector.width
    element = memory_type(buffer.dtype)
    if lanes == 1:
        place = address(e, buffer, expr.index)
        level = load_level(e, buffer, place.level)
        raw = e.value(f"load {element}, ptr {place.text}, align {buffer.dtype.itemsize}", buffer.dtype, 1, level)
        return _from_memory(e, raw)
    step = e.coefficient(linear_index(buffer, expr.index))
    mask = e.vector.mask
    if step == 1:
        place = address(e, buffer, expr.index)
        level = load_level(e, buffer, max(place.level, mask.level if mask else 0))
        vector = vector_type(element, lanes)
        if mask is None:
            text = f"load {vector}, ptr {place.text}, align {buffer.dtype.itemsize}"
        else:
            name = f"llvm.masked.load.{_memory_suffix(buffer.dtype, lanes)}.p0"
            text = e.call(name, vector, f"ptr align {buffer.dtype.itemsize} {place.text}, {mask.type} {mask.text}, {vector} zeroinitializer")
        return _from_memory(e, e.value(text, buffer.dtype, lanes, level))
    return _gather(e, expr, step, lanes)


def _register(e: Emitter, buffer: Buffer, expr: Load, lane_zero: bool) -> Val:
    """What a register buffer holds at a constant place; one lane of a vector where a single element is asked for. Lanes may come
    from any places that are known, as when a tile is read across."""
    if not lane_zero and any(e.varies(i) for i in expr.index) and e.coefficient(linear_index(buffer, expr.index)) != 1:
        return gather_lanes(e, e.slots[id(buffer)], _lane_offsets(e, buffer, expr.index), buffer.name)
    slots, offset = e.slots[id(buffer)], register_offset(e, buffer, expr.index)
    start = offset if offset in slots else max(s for s in slots if s < offset)
    value = slots[start]
    if value.lanes > 1 and (lane_zero or e.vector is None):
        return e.value(f"extractelement {value.type} {value.text}, i64 {offset - start}", value.dtype, 1, value.level)
    return value


def _gather(e: Emitter, expr: Load, step: int | None, lanes: int) -> Val:
    """Lanes from places that are not neighbours: `step` elements apart, or anywhere (None)."""
    buffer = expr.buffer
    element = memory_type(buffer.dtype)
    if step is not None:
        base = address(e, buffer, expr.index)
        offsets = Val("<" + ", ".join(f"i64 {i * step}" for i in range(lanes)) + ">", int64, lanes, 0)
        level = base.level
    else:
        base = e.pointer(buffer)
        offsets = splat(e, evaluate(e, linear_index(buffer, expr.index)), lanes)
        level = max(base.level, offsets.level)
    places = "%" + e.fresh()
    e.line(f"  {places} = getelementptr inbounds {element}, ptr {base.text}, <{lanes} x i64> {offsets.text}", level)
    mask = e.vector.mask or constant(True, bool_, lanes)
    level = load_level(e, buffer, max(level, mask.level))
    vector = vector_type(element, lanes)
    name = f"llvm.masked.gather.{_memory_suffix(buffer.dtype, lanes)}.v{lanes}p0"
    text = e.call(name, vector, f"<{lanes} x ptr> align {buffer.dtype.itemsize} {places}, {mask.type} {mask.text}, {vector} zeroinitializer")
    return _from_memory(e, e.value(text, buffer.dtype, lanes, level))


def _memory_suffix(dtype: DType, lanes: int) -> str:
    element = memory_type(dtype)
    return f"v{lanes}" + {"float": "f32", "double": "f64", "half": "f16"}.get(element, element)


def _from_memory(e: Emitter, raw: Val) -> Val:
    if not raw.dtype.is_bool:
        return raw
    zero = "zeroinitializer" if raw.lanes > 1 else "0"
    return e.value(f"icmp ne {vector_type('i8', raw.lanes)} {raw.text}, {zero}", bool_, raw.lanes, raw.level)


def to_memory(e: Emitter, value: Val) -> tuple[str, str]:
    """(type, text) of `value` as it stands in memory."""
    if not value.dtype.is_bool:
        return value.type, value.text
    byte = vector_type("i8", value.lanes)
    name = "%" + e.fresh()
    e.line(f"  {name} = zext {value.type} {value.text} to {byte}")
    return byte, name


def store(e: Emitter, buffer: Buffer, index: tuple[Expr, ...], value: Val, streaming: bool = False) -> None:
    """buffer[index] = value, in the current frame."""
    lanes = e.vector.width if e.vector is not None and any(e.varies(i) for i in index) else 1
    if lanes == 1 and value.lanes > 1 and e.vector.is_single:
        value = e.value(f"extractelement {value.type} {value.text}, i64 0", value.dtype, 1, value.level)
    if lanes == 1 and value.lanes > 1:
        raise CompilerError(f"lanes of one vector are stored to one place in {buffer.name!r}")
    value = splat(e, value, lanes)
    kind, text = to_memory(e, value)
    hint = ", !nontemporal !0" if streaming else ""
    if lanes == 1:
        place = address(e, buffer, index)
        e.line(f"  store {kind} {text}, ptr {place.text}, align {buffer.dtype.itemsize}")
        return
    step = e.coefficient(linear_index(buffer, index))
    mask = e.vector.mask
    if step == 1:
        place = address(e, buffer, index)
        if mask is None:
            alignment = e.target.vector_bytes if streaming else buffer.dtype.itemsize
            e.line(f"  store {kind} {text}, ptr {place.text}, align {alignment}{hint}")
        else:
            name = f"llvm.masked.store.{_memory_suffix(buffer.dtype, lanes)}.p0"
            e.line("  " + e.call(name, "void", f"{kind} {text}, ptr align {buffer.dtype.itemsize} {place.text}, {mask.type} {mask.text}"))
        return
    offsets = splat(e, evaluate(e, linear_index(buffer, index)), lanes)
    places = "%" + e.fresh()
    base = e.pointer(buffer)
    e.line(f"  {places} = getelementptr inbounds {memory_type(buffer.dtype)}, ptr {base.text}, <{lanes} x i64> {offsets.text}")
    mask = mask or constant(True, bool_, lanes)
    name = f"llvm.masked.scatter.{_memory_suffix(buffer.dtype, lanes)}.v{lanes}p0"
    e.line("  " + e.call(name, "void", f"{kind} {text}, <{lanes} x ptr> align {buffer.dtype.itemsize} {places}, {mask.type} {mask.text}"))
