"""How does control flow depend on values?  cond, switch, while_loop, fori_loop and scan, with JAX's signatures.

While a function is traced each becomes one op that holds the traced bodies as closed graphs; what a body uses from
outside becomes an operand. Outside of traces they run as plain Python loops over NumPy arrays. Operands, carries and
results are trees of arrays.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np

from ...compiler.core.dims import Dim, DimExpr
from ...compiler.core.dtypes import DType, bool_, int32, int64
from ...compiler.core.types import TensorType
from ...compiler.ops.control import Cond, Scan, While
from .. import tree
from .bodies import Argument, Body, argument_of, closed, record_body, type_of_leaf, union
from .creation import arange
from .elementwise import add, less, logical_and
from .manipulation import stack
from .operands import as_array, cast, result_dtype, type_of, weak_kind
from .tracer import Tracer, current_trace, emit_traced, shape_error, trace_error


# ---- what sides must agree in ----------------------------------------------------------------------------------------
def _check_same(what: str, first: str, second: str, structures, types) -> None:
    """A TraceError that shows by tree path where two sides' structures or types differ."""
    if structures[0] != structures[1]:
        raise trace_error(f"{what}: {first} and {second} differ {tree.difference(*structures)}",
                          hint="both must be trees of the same structure")
    wrong = [f"\n  {path or 'the value'}: {a} {first}, {b} {second}"
             for path, a, b in zip(tree.paths(structures[0]), *types) if a != b]
    if wrong:
        raise trace_error(f"{what} in type:{''.join(wrong)}", hint="make shapes and dtypes agree, for example with "
                                                                   "astype")


def _tuple_structure(parts: Sequence) -> tuple[list, list[tree.Structure]]:
    flat = [tree.flatten(p) for p in parts]
    return [leaf for leaves, _ in flat for leaf in leaves], [structure for _, structure in flat]


# ---- branches --------------------------------------------------------------------------------------------------------
def cond(pred, true_fn: Callable, false_fn: Callable, /, *operands) -> Any:
    """true_fn(*operands) where the scalar `pred` holds, else false_fn(*operands): trees of the same types.

    A `pred` that is known calls its branch directly.
    """
    if not isinstance(pred, Tracer):
        return _called(true_fn if _known(pred, "cond") else false_fn, operands)
    _require_scalar(pred, "pred", "cond")
    return _branch(cast(pred, bool_), (false_fn, true_fn), ("from false_fn", "from true_fn"), "lm.cond", operands)


def switch(index, branches: Sequence[Callable], /, *operands) -> Any:
    """branches[index](*operands); an index outside means the nearest branch. An `index` that is known calls it
    directly."""
    branches = tuple(branches)
    if not branches:
        raise trace_error("lm.switch of no branches", hint="give one or more")
    if not isinstance(index, Tracer):
        return _called(branches[min(max(int(_known(index, "switch")), 0), len(branches) - 1)], operands)
    _require_scalar(index, "index", "switch")
    if len(branches) == 1:
        return branches[0](*operands)
    index = index if index.dtype in (int32, int64) else cast(index, int64)
    return _branch(index, branches, [f"from branch {i}" for i in range(len(branches))], "lm.switch", operands)


def _called(branch: Callable, operands) -> Any:
    result = branch(*operands)
    return tree.map(as_array, result) if current_trace() is None else result


def _known(x, name: str):
    value = as_array(x)
    if isinstance(value, Tracer) or value.shape != ():
        raise shape_error(f"lm.{name} chooses by a scalar, not {type_of_leaf(value)}",
                          hint="reduce it with lm.any or lm.all")
    return value.item()


def _require_scalar(x: Tracer, what: str, name: str) -> None:
    if x.shape != ():
        raise shape_error(f"{what} of lm.{name} is {x.value.type}, a scalar was expected",
                          hint="reduce it with lm.any or lm.all, or use lm.where to choose by element")


def _branch(index: Tracer, functions: Sequence[Callable], sides: Sequence[str], name: str, operands) -> Any:
    leaves, structures = _tuple_structure(operands)
    counts = iter(leaves)
    arguments = [argument_of([next(counts) for _ in range(s.count)], s, f"operand{i}")
                 for i, s in enumerate(structures)]
    def record(dtypes=None):
        return [record_body(f, f"a branch of {name}", *arguments, dtypes=dtypes) for f in functions]
    bodies = record()
    first = bodies[0]
    for side, body in zip(sides[1:], bodies[1:]):
        if body.structure != first.structure:
            _check_same(f"the branches of {name} differ", sides[0], side, (first.structure, body.structure), ((), ()))
    dtypes = [_common([b.types[i].dtype for b in bodies], [b.weak[i] for b in bodies]) for i in range(len(first.types))]
    if any(t.dtype != d for b in bodies for t, d in zip(b.types, dtypes)):
        bodies = record(dtypes)
    for side, body in zip(sides[1:], bodies[1:]):
        _check_same(f"the branches of {name} differ", sides[0], side, (bodies[0].structure, body.structure),
                    (bodies[0].types, body.types))
    captured = union(bodies)
    op = Cond(tuple(closed(b, captured) for b in bodies))
    return tree.unflatten(first.structure, _as_tuple(emit_traced(op, index, *map(as_array, leaves), *captured)))


def _common(dtypes: Sequence[DType], weak: Sequence[bool]) -> DType:
    """What weak results are cast to: the dtype of one that is not weak, or of the first."""
    strong = [d for d, w in zip(dtypes, weak) if not w]
    return strong[0] if strong else result_dtype(*(np.zeros((), d.numpy) for d in dtypes))


# ---- loops -----------------------------------------------------------------------------------------------------------
def while_loop(cond_fun: Callable, body_fun: Callable, init_val, /, *, max_iterations: int | None = None) -> Any:
    """carry = body_fun(carry) for as long as cond_fun(carry), one scalar, holds; the last carry. Types do not change.

    `max_iterations` ends the loop after so many iterations. Reverse mode needs it, and saves memory for all of them.
    """
    if max_iterations is None:
        return _while(cond_fun, body_fun, init_val)
    most = as_array(_bound(max_iterations, "lm.while_loop"))
    return _while(lambda c: logical_and(less(c[0], most), cond_fun(c[1])),
                  lambda c: (add(c[0], 1), body_fun(c[1])), (np.int64(0), init_val), int(max_iterations))[1]


def _bound(max_iterations, name: str) -> int:
    if isinstance(max_iterations, Tracer) or int(max_iterations) != max_iterations or max_iterations < 0:
        raise trace_error(f"max_iterations of {name} is {max_iterations!r}, an int of 0 or more was expected",
                          hint="it is known while tracing: memory for so many iterations is planned")
    return int(max_iterations)


def _while(cond_fun: Callable, body_fun: Callable, init_val, bound: int | None = None) -> Any:
    leaves, structure = tree.flatten(init_val)
    if current_trace() is None:
        carry = _Carry(leaves, structure, "lm.while_loop")
        while _known(cond_fun(carry.value), "while_loop"):
            carry.replace(body_fun(carry.value))
        return carry.last
    leaves, body = _settle(leaves, structure, "lm.while_loop", lambda argument, dtypes: record_body(
        body_fun, "the body of lm.while_loop", argument, dtypes=dtypes))
    condition = record_body(lambda carry: _as_condition(cond_fun(carry)), "the condition of lm.while_loop",
                        argument_of(leaves, structure, "carry"))
    captured = union([condition, body])
    op = While(closed(condition, captured), closed(body, captured, returned=True), bound)
    return tree.unflatten(structure, _as_tuple(emit_traced(op, *leaves, *captured))[:len(leaves)])


def fori_loop(lower, upper, body_fun: Callable, init_val, /, *, max_iterations: int | None = None) -> Any:
    """val = body_fun(i, val) for i from `lower` to `upper` - 1; the last val. Bounds may be traced integers or dims.

    With traced ones reverse mode needs `max_iterations`: the loop ends after so many.
    """
    if current_trace() is None:
        carry = _Carry(*tree.flatten(init_val), "lm.fori_loop")
        steps = range(int(_known(lower, "fori_loop")), int(_known(upper, "fori_loop")))
        for i in steps if max_iterations is None else steps[:_bound(max_iterations, "lm.fori_loop")]:
            carry.replace(body_fun(i, carry.value))
        return carry.last
    if isinstance(lower, Tracer) or isinstance(upper, Tracer):
        start = cast(as_array(lower), int64)
        carry = while_loop(lambda c: less(c[0], upper), lambda c: (add(c[0], 1), body_fun(_weak(c[0]), c[1])),
                           (start, init_val), max_iterations=max_iterations)
        return carry[1]
    steps = arange(lower, upper)
    if max_iterations is not None:
        steps = steps[:_bound(max_iterations, "lm.fori_loop")]
    return scan(lambda carry, i: (body_fun(_weak(i), carry), None), init_val, steps,
                name="lm.fori_loop")[0]


def _weak(i: Tracer) -> Tracer:
    """A loop's counter as a Python int would be: it takes the dtype of the arrays that it meets."""
    return Tracer(i.owner, i.value, weak=True)


def scan(f: Callable, init, xs=None, length: int | None = None, reverse: bool = False, *, name: str = "lm.scan") -> Any:
    """carry, y = f(carry, x) for each x of `xs` along its leading axis: the last carry, and the ys stacked.

    `xs` is a tree of arrays with one leading extent, or None with `length` steps. `reverse` begins at the end; ys keep
    the places of their xs. `name` is what error messages call the loop.
    """
    leaves, structure = tree.flatten(init)
    inputs, xs_structure = tree.flatten(xs)
    inputs = [as_array(x) for x in inputs]
    steps = _steps(inputs, xs_structure, length, name)
    step = _Step(f, name)
    item = Argument(tuple(TensorType(tuple(x.shape[1:]), type_of(x).dtype) for x in inputs),
                    tuple("x" + tree.dotted(path) for path in tree.paths(xs_structure)), (False,) * len(inputs),
                    xs_structure)
    if current_trace() is None:
        return _scan_at_once(step, leaves, structure, inputs, item, steps, reverse)
    leaves, body = _settle(leaves, structure, name, lambda argument, dtypes: record_body(
        step, f"the body of {name}", argument, item, dtypes=dtypes), step)
    op = Scan(closed(body, body.captured), len(leaves), len(inputs), bool(reverse), None if inputs else steps)
    results = _as_tuple(emit_traced(op, *leaves, *inputs, *body.captured))
    return tree.unflatten(structure, results[:len(leaves)]), tree.unflatten(step.ys, results[len(leaves):])


class _Step:
    """A scan's function, which must give a pair; remembers the structures of its two parts."""

    def __init__(self, function: Callable, name: str):
        self.function = function
        self.name = name
        self.carry: tree.Structure | None = None
        self.ys: tree.Structure | None = None

    def __call__(self, carry, x):
        result = self.function(carry, x)
        if not isinstance(result, tuple) or len(result) != 2:
            raise trace_error(f"the body of {self.name} returns {type(result).__name__}, a pair (carry, y) was "
                              f"expected",
                              hint="return carry, None where there is nothing to stack")
        self.carry, self.ys = map(tree.structure, result)
        return result


def _steps(inputs: Sequence, structure: tree.Structure, length, name: str) -> Dim:
    paths = tree.paths(structure)
    for path, x in zip(paths, inputs):
        if not x.shape:
            raise shape_error(f"{name} goes along the leading axis of xs{path}, which is a scalar")
    extents = {f"xs{path}": x.shape[0] for path, x in zip(paths, inputs)}
    if length is not None:
        extents["length"] = length if isinstance(length, DimExpr) else int(length)
    if not extents:
        raise shape_error(f"{name} has neither xs nor a length", hint="give length=")
    if len(set(extents.values())) > 1:
        listed = ", ".join(f"{what} has {steps}" for what, steps in extents.items())
        raise shape_error(f"the numbers of steps of {name} differ: {listed}")
    return next(iter(extents.values()))


def _scan_at_once(step: _Step, leaves, structure, inputs, item: Argument, steps: int, reverse: bool):
    carry = _Carry(leaves, structure, step.name)
    if steps == 0:
        body = record_body(step, f"the body of {step.name}", argument_of(leaves, structure, "carry"), item)
        types = body.types[len(leaves):]
        return carry.last, tree.unflatten(step.ys, [np.zeros((0, *t.shape), t.dtype.numpy) for t in types])
    rows = []
    for t in reversed(range(steps)) if reverse else range(steps):
        new, y = step(carry.value, tree.unflatten(item.structure, [np.asarray(x[t]) for x in inputs]))
        carry.replace(new)
        rows.append([as_array(leaf) for leaf in tree.leaves(y)])
    columns = zip(*(reversed(rows) if reverse else rows))
    return carry.last, tree.unflatten(step.ys, [stack(column) for column in columns])


class _Carry:
    """What a loop that runs at once carries: keeps its types, as a traced loop does."""

    def __init__(self, leaves: Sequence, structure: tree.Structure, name: str):
        self.weak = [weak_kind(x) is not None for x in leaves]
        self.leaves = list(leaves)  # Python scalars as they are, so that they are weak in the first step
        self.structure = structure
        self.name = name

    @property
    def value(self):
        return tree.unflatten(self.structure, self.leaves)

    @property
    def last(self):
        """The carry after the loop, as arrays."""
        return tree.unflatten(self.structure, map(as_array, self.leaves))

    def replace(self, value) -> None:
        """Take the carry that a body gave. What began as a Python scalar takes the dtype of the first one."""
        new, structure = tree.flatten(value)
        before = list(map(type_of_leaf, self.leaves))
        if structure == self.structure:
            new = [as_array(x, b.dtype if weak_kind(x) is not None and not w else None)
                   for x, b, w in zip(new, before, self.weak)]
            before = [TensorType(b.shape, type_of(x).dtype) if w else b for x, b, w in zip(new, before, self.weak)]
        _check_carry(self.name, self.structure, structure, before, [type_of_leaf(x) for x in new])
        self.leaves, self.weak = new, [False] * len(new)


def _check_carry(name: str, structure, found, before, after) -> None:
    _check_same(f"the body of {name} changes its carry", "goes in", "comes out", (structure, found), (before, after))


def _settle(leaves: list, structure: tree.Structure, name: str, record: Callable,
            step: _Step | None = None) -> tuple[list, Body]:
    """The initial carry as arrays, and the body recorded for it by `record(argument, dtypes)`.

    A Python scalar that goes in takes the dtype that comes out; one that comes out takes the dtype that goes in.
    """
    count = len(leaves)
    body = record(argument_of(leaves, structure, "carry"), None)
    def carried():
        return step.carry if step is not None else body.structure
    if carried() == structure:
        out = body.types[:count]
        changed = [weak_kind(x) is not None and type_of_leaf(x).dtype != t.dtype for x, t in zip(leaves, out)]
        if any(changed):
            leaves = [cast(as_array(x), t.dtype) if c else x for x, t, c in zip(leaves, out, changed)]
            body = record(argument_of(leaves, structure, "carry"), None)
        dtypes = [type_of_leaf(x).dtype if weak else t.dtype for x, t, weak in zip(leaves, body.types, body.weak)]
        if any(d != t.dtype for d, t in zip(dtypes, body.types)):
            body = record(argument_of(leaves, structure, "carry"), dtypes)
    _check_carry(name, structure, carried(), list(map(type_of_leaf, leaves)), body.types[:count])
    return [as_array(x) for x in leaves], body


def _as_condition(value):
    value = as_array(value)
    if value.shape != ():
        raise shape_error(f"the condition of lm.while_loop is {type_of_leaf(value)}, a scalar was expected",
                          hint="reduce it with lm.any or lm.all")
    return cast(value, bool_)


def _as_tuple(results) -> tuple:
    return results if isinstance(results, tuple) else (results,)
