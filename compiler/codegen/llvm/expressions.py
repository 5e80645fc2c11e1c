"""How does each Kernel expression become LLVM instructions, for one lane or many?"""

from __future__ import annotations

from dataclasses import replace

from ...core.dtypes import DType, bool_, float32, int32, int64, uint8
from ...core.errors import CompilerError
from ...kernel.builder import add, as_expr, binary as index_arithmetic, mul
from ...kernel.ir import Binary, Bitcast, Buffer, Cast, Compare, Const, Expr, Fma, Load, Select, Unary, Var
from ...lower.math import EXPANDED, expand
from ...targets.target import SCALEF
from .conversions import cast
from .emitter import Emitter
from .operations import binary, fma, integer_power, select, splat, together
from .shuffles import gather_lanes
from .values import Val, constant, memory_type, register_type, suffix, vector_type

NEAR = 4  # vectors that lanes are put together from, rather than read one by one
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
        (x, y), lanes, level = together(e, evaluate(e, expr.x, lane_zero), evaluate(e, expr.y, lane_zero))
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
    if expr.op == "scale":
        return _scale(e, expr, lane_zero)
    if expr.dtype.is_float and expr.op in EXPANDED and expr.op not in ("rem", "mod"):  # those have a loop of their own here
        return _expanded(e, expr.op, (expr.x, expr.y))
    if not lane_zero and (step := _affine(e, expr)) is not None:
        return _ramp(e, evaluate(e, expr, True), step)
    x, y = evaluate(e, expr.x, lane_zero), evaluate(e, expr.y, lane_zero)
    positive_divisor = isinstance(expr.y, Const) and expr.y.value > 0
    if expr.op == "pow":
        return integer_power(e, x, y)
    return binary(e, expr.op, x, y, positive_divisor, _is_number(expr.x), _is_number(expr.y))


def _scale(e: Emitter, expr: Binary, lane_zero: bool) -> Val:
    """x * 2^y: one instruction for a full vector where the target has it. Other lanes get the same bits from the recipe."""
    (x, y), lanes, level = together(e, evaluate(e, expr.x, lane_zero), evaluate(e, expr.y, lane_zero))
    if not e.target.has_scalef or lanes * x.dtype.itemsize != e.target.vector_bytes:
        return _expanded(e, "scale", (expr.x, expr.y))
    name, mask = f"{SCALEF}{'ps' if x.dtype == float32 else 'pd'}.{8 * e.target.vector_bytes}", f"i{max(8, lanes)}"
    text = e.call(name, x.type, f"{x.type} {x.text}, {x.type} {y.text}, {x.type} zeroinitializer, {mask} -1, i32 4")
    return e.value(text, x.dtype, lanes, level)


def _is_number(expr: Expr) -> bool:
    """Whether an expression is a constant, and not NaN."""
    return isinstance(expr, Const) and expr.value == expr.value


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
    base = e.pointers[id(buffer)]
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
    if mask is None:
        found = [i * step for i in range(lanes)] if step is not None else e.lane_offsets(linear_index(buffer, expr.index))
        offsets = found[0] if isinstance(found, tuple) else found
        if offsets is not None and max(offsets) - min(offsets) < NEAR * lanes:
            return _load_around(e, expr, offsets)
    return _gather(e, expr, step, lanes)


def _load_around(e: Emitter, expr: Load, offsets: list[int]) -> Val:
    """Lanes from places that lie near each other, by their offsets from the first one's: whole vectors are loaded, which
    begin at the lowest place and end at the highest, and their lanes put in order."""
    buffer, element = expr.buffer, memory_type(expr.buffer.dtype)
    low, high = min(offsets), max(offsets)
    first = address(e, buffer, expr.index)
    level = load_level(e, buffer, first.level)
    if low == high:
        return splat(e, _from_memory(e, e.value(f"load {element}, ptr {first.text}, align {buffer.dtype.itemsize}", buffer.dtype, 1, level)),
                     len(offsets))
    size = min(len(offsets), 1 << (high - low + 1).bit_length() - 1)
    starts = [*range(low, high - size + 2, size)]
    if starts[-1] + size <= high:
        starts.append(high - size + 1)
    vectors: dict[int, Val] = {}
    stored = uint8 if buffer.dtype.is_bool else buffer.dtype  # as it stands in memory
    for start in starts:
        place = first.text
        if start:
            place = "%" + e.fresh()
            e.line(f"  {place} = getelementptr inbounds {element}, ptr {first.text}, i64 {start}", level)
        text = f"load {vector_type(element, size)}, ptr {place}, align {buffer.dtype.itemsize}"
        vectors[start] = e.value(text, stored, size, level)
    return _from_memory(e, replace(gather_lanes(e, vectors, offsets, buffer.name), dtype=buffer.dtype))


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
        base = e.pointers[id(buffer)]
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
    base = e.pointers[id(buffer)]
    e.line(f"  {places} = getelementptr inbounds {memory_type(buffer.dtype)}, ptr {base.text}, <{lanes} x i64> {offsets.text}")
    mask = mask or constant(True, bool_, lanes)
    name = f"llvm.masked.scatter.{_memory_suffix(buffer.dtype, lanes)}.v{lanes}p0"
    e.line("  " + e.call(name, "void", f"{kind} {text}, <{lanes} x ptr> align {buffer.dtype.itemsize} {places}, {mask.type} {mask.text}"))
