"""How does each Kernel statement become LLVM blocks?  Loops with phis, lanes with masked tails, branches, stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Sequence

from ...core.dtypes import bool_, int64
from ...core.errors import CompilerError
from ...kernel.ir import Accumulate, Alloc, Binary, Expr, For, If, Let, Load, Prefetch, Stmt, Store, Var
from ...kernel.sharing import expressions, postorder
from .emitter import Emitter, Frame, VectorLoop, children
from .expressions import address, evaluate, load, store, written_offset
from .operations import binary, fma, splat
from .values import Val, constant, memory_type


def emit_block(e: Emitter, statements: Sequence[Stmt]) -> None:
    for statement in statements:
        _EMIT[type(statement)](e, statement)


def _let(e: Emitter, s: Let) -> None:
    varies = e.varies(s.value)
    if varies and s.value.dtype == int64 and not e.free(s.value)[1]:
        e.bind(s.var, None, s.value, varies=True)  # an index: its lanes are made only if something asks for them
        return
    value = evaluate(e, s.value)
    e.bind(s.var, value, s.value if s.value.dtype == int64 else None, varies=value.lanes > 1)


def _alloc(e: Emitter, s: Alloc) -> None:
    buffer = s.buffer
    if buffer.space == "register":
        e.slots[id(buffer)] = {}
        if e.vector is not None:  # it belongs to the lanes: each has its own
            e.lane_registers.add(id(buffer))
        return
    size = 1
    for extent in buffer.shape:
        size *= extent
    name = "%" + e.fresh("stack")
    e.allocas.append(f"  {name} = alloca [{max(size, 1)} x {memory_type(buffer.dtype)}], align 64")
    e.pointers[id(buffer)] = Val(name, int64, 1, 0)


def _store(e: Emitter, s: Store) -> None:
    value = evaluate(e, s.value)
    if s.buffer.space != "register":
        store(e, s.buffer, s.index, value, s.streaming)
        return
    if any(e.varies(i) for i in s.index) or id(s.buffer) in e.lane_registers:
        value = splat(e, value, e.vector.width)
    e.slots[id(s.buffer)][written_offset(e, s.buffer, s.index)] = value


def _combine(e: Emitter, op: str, old: Val, expr: Expr) -> Val:
    if op == "add" and isinstance(expr, Binary) and expr.op == "mul" and expr.dtype.is_float:
        return fma(e, evaluate(e, expr.x), evaluate(e, expr.y), old)
    if op in ("min", "max"):  # in this order the test for NaN is made of the new value alone, beside the chain of steps
        return binary(e, op, evaluate(e, expr), old)
    return binary(e, op, old, evaluate(e, expr))


def _accumulate(e: Emitter, s: Accumulate) -> None:
    buffer = s.buffer
    if buffer.space != "register":
        old = load(e, Load(buffer, s.index), False)
        store(e, buffer, s.index, _combine(e, s.op, old, s.value))
        return
    offset = written_offset(e, buffer, s.index)
    lanes = e.partials.get(id(buffer))
    if lanes is not None and not any(e.varies(i) for i in s.index):
        accumulators = lanes[offset]
        u = e.vector_instance
        new = _combine(e, s.op, accumulators[u], s.value)
        if e.vector.mask is not None:
            mask = e.vector.mask
            new = e.value(f"select {mask.type} {mask.text}, {new.type} {new.text}, {new.type} {accumulators[u].text}", new.dtype, new.lanes,
                          max(new.level, mask.level))
        accumulators[u] = new
        return
    slots = e.slots[id(buffer)]
    if offset not in slots:
        raise CompilerError(f"register buffer {buffer.name!r} is accumulated to before it is set")
    slots[offset] = _combine(e, s.op, slots[offset], s.value)


def _prefetch(e: Emitter, s: Prefetch) -> None:
    place = address(e, s.buffer, s.index)
    e.line("  " + e.call("llvm.prefetch.p0", "void", f"ptr {place.text}, i32 0, i32 3, i32 1"))


# ---- what a loop or branch changes ------------------------------------------------------------------------------------
def changed_registers(statements: Sequence[Stmt]) -> set[int]:
    """Ids of the register buffers that `statements` change and do not allocate themselves."""
    changed: set[int] = set()
    own: set[int] = set()
    for s in statements:
        if isinstance(s, Alloc):
            own.add(id(s.buffer))
        elif isinstance(s, (Store, Accumulate)) and s.buffer.space == "register":
            changed.add(id(s.buffer))
        elif isinstance(s, For):
            changed |= changed_registers(s.body)
        elif isinstance(s, If):
            changed |= changed_registers(s.then) | changed_registers(s.orelse)
    return changed - own


def _state_keys(e: Emitter, statements: Sequence[Stmt]) -> list[tuple]:
    keys: list[tuple] = []
    for buffer in sorted(changed_registers(statements) & e.slots.keys()):
        if buffer in e.partials:
            keys += [("partial", buffer, offset, u) for offset, vs in e.partials[buffer].items() for u in range(len(vs))]
        else:
            keys += [("slot", buffer, offset) for offset in e.slots[buffer]]
    return keys


def _read_state(e: Emitter, keys) -> list[Val]:
    return [e.slots[k[1]][k[2]] if k[0] == "slot" else e.partials[k[1]][k[2]][k[3]] for k in keys]


def _write_state(e: Emitter, keys, values) -> None:
    for k, value in zip(keys, values):
        if k[0] == "slot":
            e.slots[k[1]][k[2]] = value
        else:
            e.partials[k[1]][k[2]][k[3]] = value


# ---- loops ------------------------------------------------------------------------------------------------------------
def emit_loop(e: Emitter, low: Val, high: Val, step: int, keys: list[tuple], body: Callable[[Val], None]) -> None:
    """`body(index)` for index = low, low+step ... < high; the state named by `keys` flows through phis."""
    fixed = not low.text.startswith("%") and not high.text.startswith("%")
    if fixed:
        trips = len(range(int(low.text), int(high.text), step))
        if trips == 0:
            return
        if trips == 1:
            body(low)
            return
    before = _read_state(e, keys)
    parent = e.frames[-1]
    head, leave = e.fresh("loop"), e.fresh("end")
    index = "%" + e.fresh("i")
    e.frames.append(Frame("loop", head))
    level = e.level
    phis = ["%" + e.fresh("c") for _ in keys]
    _write_state(e, keys, [Val(p, v.dtype, v.lanes, level) for p, v in zip(phis, before)])
    body(Val(index, int64, 1, level))
    after = _read_state(e, keys)
    for v, w in zip(before, after):
        if v.lanes != w.lanes:
            raise CompilerError("a register changes from one lane to many inside a loop: set it in the loop that has the lanes")
    following, again = "%" + e.fresh("n"), "%" + e.fresh("g")
    e.line(f"  {following} = add nuw nsw i64 {index}, {step}")
    e.line(f"  {again} = icmp slt i64 {following}, {high.text}")
    e.line(f"  br i1 {again}, label %{head}, label %{leave}")
    frame = e.frames.pop()
    if fixed:
        parent.lines.append(f"  br label %{head}")
    else:
        enter = "%" + e.fresh("g")
        parent.lines.append(f"  {enter} = icmp slt i64 {low.text}, {high.text}")
        parent.lines.append(f"  br i1 {enter}, label %{head}, label %{leave}")
    parent.lines.append(f"{head}:")
    parent.lines.append(f"  {index} = phi i64 [ {low.text}, %{parent.label} ], [ {following}, %{frame.label} ]")
    for p, v, w in zip(phis, before, after):
        parent.lines.append(f"  {p} = phi {v.type} [ {v.text}, %{parent.label} ], [ {w.text}, %{frame.label} ]")
    parent.lines += frame.lines
    parent.lines.append(f"{leave}:")
    results = []
    for v, w in zip(before, after):
        if fixed:
            results.append(Val(w.text, w.dtype, w.lanes, e.level))
        else:
            name = "%" + e.fresh("r")
            parent.lines.append(f"  {name} = phi {v.type} [ {v.text}, %{parent.label} ], [ {w.text}, %{frame.label} ]")
            results.append(Val(name, w.dtype, w.lanes, e.level))
    parent.label = leave
    _write_state(e, keys, results)


def _for(e: Emitter, s: For) -> None:
    if s.kind == "unroll":
        for i in range(s.extent.value):
            e.bind(s.var, constant(i, int64))
            emit_block(e, s.body)
        return
    if s.kind == "vector" and s.width > 1 and e.vector is None:
        _vector(e, s)
        return
    if s.kind == "apart":
        _apart(e, s)
        return
    if s.kind == "parallel" and e.level > 0:
        raise CompilerError("a parallel loop stands inside another loop")

    def body(index: Val) -> None:
        e.bind(s.var, index)
        emit_block(e, s.body)
    emit_loop(e, constant(0, int64), evaluate(e, s.extent), 1, _state_keys(e, s.body), body)


def _apart(e: Emitter, s: For) -> None:
    """The loop as a function of its own: LLVM would move its constants out of the loops around it, and spill what those hold."""
    names, buffers = captured((s,), e)
    outer = {n: e.bindings[n] if e.bindings[n] is not None else evaluate(e, e.definitions[n]) for n in names}
    inner = e.child()
    parameters, arguments = ["ptr noalias %args"], ["ptr %args"]
    for i, (name, value) in enumerate(outer.items()):
        if value.text.startswith("%"):
            parameters.append(f"{value.type} %captured{i}")
            arguments.append(f"{value.type} {value.text}")
            value = Val(f"%captured{i}", value.dtype, 1, 0)
        inner.bind(Var(name, value.dtype), value)
    for i, buffer in enumerate(buffers):
        if buffer.space == "stack":
            parameters.append(f"ptr %outer{i}")
            arguments.append(f"ptr {e.pointers[id(buffer)].text}")
            inner.pointers[id(buffer)] = Val(f"%outer{i}", int64, 1, 0)
    name = e.outline(inner, ", ".join(parameters), lambda: _for(inner, replace(s, kind="serial")))
    e.line(f"  call void @{name}({', '.join(arguments)})")


def captured(statements: Sequence[Stmt], e: Emitter) -> tuple[list[str], list]:
    """(names of outer variables, buffers allocated outside) that `statements` use."""
    names: dict[str, None] = {}
    buffers: dict[int, object] = {}
    bound: set[str] = set()
    own: set[int] = set()

    def expression(x) -> None:
        names.update(dict.fromkeys(sorted(e.free(x)[0] - bound)))
        stack, seen = [x], set()
        while stack:
            y = stack.pop()
            if id(y) in seen:
                continue
            seen.add(id(y))
            if isinstance(y, Load) and id(y.buffer) not in own:
                buffers.setdefault(id(y.buffer), y.buffer)
            stack.extend(children(y))

    def block(body) -> None:
        for s in body:
            if isinstance(s, For):
                expression(s.extent)
                bound.add(s.var.name)
                block(s.body)
            elif isinstance(s, If):
                expression(s.condition)
                block(s.then)
                block(s.orelse)
            elif isinstance(s, Let):
                expression(s.value)
                bound.add(s.var.name)
            elif isinstance(s, Alloc):
                own.add(id(s.buffer))
            else:
                for x in (*s.index, *((s.value,) if not isinstance(s, Prefetch) else ())):
                    expression(x)
                if id(s.buffer) not in own:
                    buffers.setdefault(id(s.buffer), s.buffer)
    block(statements)
    return list(names), list(buffers.values())


def _indexes_registers(statements: Sequence[Stmt], var_names: frozenset[str], e: Emitter) -> bool:
    """Whether a register buffer from outside is indexed by the loop's variable: then the loop's lanes are its slots."""
    def in_lanes(place: Load | Store | Accumulate) -> bool:
        return place.buffer.space == "register" and any(e.free(i)[0] & var_names for i in place.index)

    for s in statements:
        if isinstance(s, (Store, Accumulate)) and in_lanes(s):
            return True
        if any(isinstance(x, Load) and in_lanes(x) for x in postorder(expressions(s))):
            return True
        if isinstance(s, For) and _indexes_registers(s.body, var_names, e):
            return True
        if isinstance(s, If) and _indexes_registers((*s.then, *s.orelse), var_names, e):
            return True
    return False


_IDENTITY = {"add": 0, "mul": 1, "and": -1, "or": 0}


def identity(op: str, dtype):
    """The value that changes nothing under a reduction."""
    if op in ("min", "max"):
        return dtype.maximum if op == "min" else dtype.minimum
    return bool(_IDENTITY[op]) if dtype.is_bool else _IDENTITY[op]


def _reductions(statements: Sequence[Stmt], var: str, e: Emitter) -> dict[int, str]:
    """Register buffers that are accumulated to at places that do not depend on the lane, with their operation."""
    found: dict[int, str] = {}
    for s in statements:
        if isinstance(s, Accumulate) and s.buffer.space == "register" and not any(var in e.free(i)[0] for i in s.index):
            if found.setdefault(id(s.buffer), s.op) != s.op:
                raise CompilerError(f"register buffer {s.buffer.name!r} is accumulated with two operations in one vector loop")
        elif isinstance(s, For):
            found.update(_reductions(s.body, var, e))
        elif isinstance(s, If):
            found.update(_reductions((*s.then, *s.orelse), var, e))
    return found


def _vector(e: Emitter, s: For) -> None:
    width, unroll = s.width, max(1, s.interleave)
    extent = evaluate(e, s.extent)
    outer_varying = set(e.varying)
    if _indexes_registers(s.body, frozenset((s.var.name,)), e):
        if extent.text.startswith("%"):
            raise CompilerError("a vector loop over a register buffer needs a constant extent")
        total = int(extent.text)
        for base in range(0, total, width):
            lanes = min(width, total - base)
            _instance(e, s, constant(base, int64), 0, None if lanes == width else _constant_mask(lanes, width))
        e.varying = outer_varying
        return

    reductions = {b: op for b, op in _reductions(s.body, s.var.name, e).items()
                  if b in changed_registers(s.body) and b in e.slots}
    saved = e.partials
    e.partials = dict(e.partials)
    for b, op in reductions.items():
        e.partials[b] = {offset: [constant(identity(op, v.dtype), v.dtype, width) for _ in range(unroll)]
                         for offset, v in e.slots[b].items()}
    keys = _state_keys(e, s.body)

    def run(low: Val, high: Val, instances: int) -> None:
        def body(index: Val) -> None:
            for u in range(instances):
                base = index if u == 0 else binary(e, "add", index, constant(u * width, int64))
                if not index.text.startswith("%"):
                    base = constant(int(index.text) + u * width, int64)
                _instance(e, s, base, u, None)
        emit_loop(e, low, high, instances * width, keys, body)

    def tail(low: Val, high: Val) -> None:
        def body(index: Val) -> None:
            if not high.text.startswith("%") and not index.text.startswith("%"):
                mask = _constant_mask(int(high.text) - int(index.text), width)
            else:
                left = splat(e, binary(e, "sub", high, index), width)
                ramp = "<" + ", ".join(f"i64 {i}" for i in range(width)) + ">"
                mask = e.value(f"icmp sgt {left.type} {left.text}, {ramp}", bool_, width, max(left.level, index.level))
            _instance(e, s, index, 0, mask)
        emit_loop(e, low, high, width, keys, body)

    zero = constant(0, int64)
    if extent.text.startswith("%"):
        low = zero
        for step, instances in ([(width * unroll, unroll)] if unroll > 1 else []) + [(width, 1)]:
            whole = binary(e, "and", extent, constant(-step, int64)) if step & (step - 1) == 0 else \
                binary(e, "mul", binary(e, "div", extent, constant(step, int64), True), constant(step, int64))
            run(low, whole, instances)
            low = whole
        tail(low, extent)
    else:
        total = int(extent.text)
        main = total // (width * unroll) * (width * unroll)
        whole = total // width * width
        run(zero, constant(main, int64), unroll)
        run(constant(main, int64), constant(whole, int64), 1)
        if total > whole:
            tail(constant(whole, int64), constant(total, int64))
    finished = {b: e.partials[b] for b in reductions}
    e.partials = saved
    e.varying = outer_varying
    for b, op in reductions.items():
        for offset, vectors in finished[b].items():
            total = vectors[0]
            for v in vectors[1:]:
                total = binary(e, op, total, v)
            e.slots[b][offset] = binary(e, op, e.slots[b][offset], _across(e, op, total))


def _constant_mask(lanes: int, width: int) -> Val:
    return Val("<" + ", ".join(f"i1 {'true' if i < lanes else 'false'}" for i in range(width)) + ">", bool_, width, 0)


def _instance(e: Emitter, s: For, base: Val, u: int, mask: Val | None) -> None:
    """One vector's worth of the body, at `base`."""
    outer, outer_instance = e.vector, e.vector_instance
    e.new_instance(base, mask)
    is_single = mask is not None and mask.text == _constant_mask(1, s.width).text
    if mask is not None and not mask.text.startswith("%"):
        key = ("mask", mask.text)
        named = e.remembered(key)
        if named is None:
            named = e.value(f"or {mask.type} {mask.text}, zeroinitializer", bool_, mask.lanes, e.level)
            e.remember(key, named, None)
        mask = named
    e.vector, e.vector_instance = VectorLoop(s.var, s.width, mask, is_single), u
    e.bind(s.var, base, varies=True)
    emit_block(e, s.body)
    e.vector, e.vector_instance = outer, outer_instance


def _across(e: Emitter, op: str, value: Val) -> Val:
    """All lanes combined, pairwise by halves: the same tree on every machine with this width."""
    while value.lanes > 1:
        half = value.lanes // 2
        low, high = (e.value(f"shufflevector {value.type} {value.text}, {value.type} poison, <{half} x i32> <"
                             + ", ".join(f"i32 {start + i}" for i in range(half)) + ">", value.dtype, half, value.level)
                     for start in (0, half))
        if half == 1:
            low, high = (Val(v.text, v.dtype, 1, v.level) for v in (low, high))
            low, high = (e.value(f"extractelement <1 x {v.type}> {v.text}, i64 0", v.dtype, 1, v.level) for v in (low, high))
        value = binary(e, op, low, high)
    return value


def _if(e: Emitter, s: If) -> None:
    condition = evaluate(e, s.condition)
    if condition.lanes > 1:
        raise CompilerError("a branch differs from lane to lane: use Select")
    keys = _state_keys(e, (*s.then, *s.orelse))
    before = _read_state(e, keys)
    parent = e.frames[-1]
    labels = e.fresh("then"), e.fresh("else"), e.fresh("join")
    ends, states = [], []
    bodies = []
    for label, statements in zip(labels, (s.then, s.orelse)):
        _write_state(e, keys, before)
        e.frames.append(Frame("if", label))
        emit_block(e, statements)
        frame = e.frames.pop()
        bodies.append([f"{label}:", *frame.lines, f"  br label %{labels[2]}"])
        ends.append(frame.label)
        states.append(_read_state(e, keys))
    parent.lines.append(f"  br i1 {condition.text}, label %{labels[0]}, label %{labels[1]}")
    parent.lines += bodies[0] + bodies[1] + [f"{labels[2]}:"]
    parent.label = labels[2]
    merged = []
    for a, b in zip(*states):
        name = "%" + e.fresh("r")
        parent.lines.append(f"  {name} = phi {a.type} [ {a.text}, %{ends[0]} ], [ {b.text}, %{ends[1]} ]")
        merged.append(Val(name, a.dtype, a.lanes, e.level))
    _write_state(e, keys, merged)


_EMIT = {Let: _let, Alloc: _alloc, Store: _store, Accumulate: _accumulate, Prefetch: _prefetch, For: _for, If: _if}
