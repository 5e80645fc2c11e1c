"""How does a user say how a function is differentiated?  custom_vjp, custom_jvp and checkpoint, with JAX's signatures.

Outside of traces, where nothing is differentiated, the functions just run. In a trace they become one op that holds the
function and its rules as graphs.
"""

from __future__ import annotations

import functools
import threading
from typing import Any, Callable, Sequence

from ..compiler.core.types import TensorType
from ..compiler.graph.builder import Builder, inline
from ..compiler.graph.graph import Graph
from ..compiler.ops.derivative import POLICIES, Checkpoint, CustomJvp, CustomVjp
from . import tree
from .array.bodies import Argument, Body, argument_of, closed, record_body, union
from .array.creation import zeros
from .array.operands import as_array, cast, dtype_of, type_of
from .array.tracer import Tracer, current_trace, emit_traced, shape_error, trace_error


NESTED_RULES = 3  # a rule may call its function, whose rule calls it: so many orders of derivative follow the rule


class _Depth(threading.local):
    """How many rules of a function are being traced on this thread, one inside the other."""

    depth = 0


class CustomFunction:
    """A function with a rule of its own; arguments at `nondiff_argnums` are passed as they are.

    Where a rule calls the function itself, derivatives up to the third follow the rule, those beyond the function.
    """

    def __init__(self, fun: Callable, nondiff_argnums: Sequence[int] = ()):
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = tuple(sorted(nondiff_argnums))
        self._local = _Depth()

    @property
    def name(self) -> str:
        return getattr(self.fun, "__name__", "function")

    def __call__(self, *args):
        if not self._has_rule():
            raise trace_error(f"{self.name!r} has no rule of its own yet", hint=self.how)
        if current_trace() is None or self._local.depth == NESTED_RULES:
            return self.fun(*args)
        fixed = {i: args[i] for i in self.nondiff_argnums if i < len(args)}
        own = [x for i, x in enumerate(args) if i not in fixed]
        leaves, structure = tree.flatten(tuple(own))
        argument = argument_of(leaves, structure, "arg")
        body = record_body(self._of_tree(self.fun, fixed, len(args)), f"function {self.name!r}", argument)
        self._local.depth += 1
        try:
            op, captured = self._op(argument, body, fixed, len(args))
        finally:
            self._local.depth -= 1
        results = emit_traced(op, *map(as_array, leaves), *captured)
        return tree.unflatten(body.structure, results if isinstance(results, tuple) else (results,))

    def _has_rule(self) -> bool:
        raise NotImplementedError

    def _op(self, argument: Argument, body: Body, fixed: dict[int, Any], count: int) -> tuple[Any, list[Tracer]]:
        """The op, and the tracers behind the arguments that it takes."""
        raise NotImplementedError

    @staticmethod
    def _of_tree(function: Callable, fixed: dict[int, Any], count: int) -> Callable:
        """`function` of a tuple of its arguments without the fixed ones."""
        def called(own):
            rest = iter(own)
            return function(*(fixed[i] if i in fixed else next(rest) for i in range(count)))
        return called


class custom_vjp(CustomFunction):
    """A function whose derivative in reverse mode is given by `defvjp(fwd, bwd)`.

    fwd(*args) -> (result, residuals); bwd(*nondiff, residuals, cotangent) -> a tuple with a cotangent for each argument
    that is not in `nondiff_argnums` (None for zero, and for what is no float).
    """

    how = "f.defvjp(fwd, bwd) gives it"

    def __init__(self, fun: Callable, nondiff_argnums: Sequence[int] = ()):
        super().__init__(fun, nondiff_argnums)
        self.fwd: Callable | None = None
        self.bwd: Callable | None = None

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Give the rule: see the class."""
        self.fwd, self.bwd = fwd, bwd

    def _has_rule(self):
        return self.fwd is not None

    def _op(self, argument, body, fixed, count):
        structures: list[tree.Structure] = []

        def forward(own):
            pair = self._of_tree(self.fwd, fixed, count)(own)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise trace_error(f"the forward rule of {self.name!r} returns {type(pair).__name__}, a pair (result, "
                                  f"residuals) was expected")
            structures[:] = map(tree.structure, pair)
            return pair
        forward_body = record_body(forward, f"the forward rule of {self.name!r}", argument)
        results = len(body.types)
        if structures[0] != body.structure or forward_body.types[:results] != body.types:
            raise trace_error(f"the forward rule of {self.name!r} gives {_types(forward_body.types[:results])}, the "
                              f"function {_types(body.types)}",
                              hint="the first part of the pair is the function's result")
        saved = _argument(forward_body.types[results:], structures[1], "residual")
        cotangents = _argument([t for t in body.types if t.dtype.is_float], None, "cotangent")

        def backward(residuals, given):
            rest = iter(given)
            full = [next(rest) if t.dtype.is_float else zeros(t.shape, t.dtype) for t in body.types]
            found = self.bwd(*fixed.values(), residuals, tree.unflatten(body.structure, full))
            return _fitted(found, argument, f"the backward rule of {self.name!r}")
        backward_body = record_body(backward, f"the backward rule of {self.name!r}", saved, cotangents)
        captured = union([body, forward_body, backward_body])
        rule = _captured_first(closed(backward_body, captured), len(captured))
        return CustomVjp(closed(body, captured), closed(forward_body, captured), rule, len(captured)), captured


class custom_jvp(CustomFunction):
    """A function whose derivative is given by `defjvp(rule)`, for both modes.

    rule(*nondiff, primals, tangents) -> (result, its tangent), linear in the tangents; primals and tangents are tuples
    of the arguments that are not in `nondiff_argnums`.
    """

    how = "f.defjvp(rule) gives it"

    def __init__(self, fun: Callable, nondiff_argnums: Sequence[int] = ()):
        super().__init__(fun, nondiff_argnums)
        self.rule: Callable | None = None

    def defjvp(self, rule: Callable) -> Callable:
        """Give the rule: see the class. Can be used as a decorator."""
        self.rule = rule
        return rule

    def _has_rule(self):
        return self.rule is not None

    def _op(self, argument, body, fixed, count):
        tangents = _argument([t for t in argument.types if t.dtype.is_float], None, "tangent")

        def pushed(primals, given):
            rest = iter(given)
            full = [next(rest) if t.dtype.is_float else zeros(t.shape, t.dtype) for t in argument.types]
            pair = self.rule(*fixed.values(), primals, tree.unflatten(argument.structure, full))
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise trace_error(f"the rule of {self.name!r} returns {type(pair).__name__}, a pair (result, tangent) "
                                  f"was expected")
            result, moved = map(tree.leaves, pair)
            if len(result) != len(body.types) or len(moved) != len(body.types):
                raise trace_error(f"the rule of {self.name!r} gives {len(result)} results and {len(moved)} tangents, "
                                  f"the function {len(body.types)} results")
            return [cast(as_array(x), t.dtype) for x, t in zip(result, body.types)], [
                cast(as_array(x), t.dtype) for x, t in zip(moved, body.types) if t.dtype.is_float]
        rule = record_body(pushed, f"the rule of {self.name!r}", argument, tangents)
        captured = union([body, rule])
        graph = _captured_between(closed(rule, captured), len(argument.types), len(captured))
        return CustomJvp(closed(body, captured), graph, len(captured)), captured


def checkpoint(fun: Callable | None = None, *, policy: str = "nothing_saveable") -> Callable:
    """`fun`, of which reverse mode keeps what `policy` says, and computes the rest again when it is needed.

    Policies: "nothing_saveable", "dots_saveable" (the results of matrix products and convolutions are kept),
    "dots_with_no_batch_dims_saveable" (those of products without batch axes), "everything_saveable". All arguments by
    position are arrays or trees of them; others are given by keyword.
    """
    if fun is None:
        return functools.partial(checkpoint, policy=policy)
    if policy not in POLICIES:
        raise trace_error(f"there is no policy {policy!r}", hint="there is " + ", ".join(map(repr, POLICIES)))

    @functools.wraps(fun)
    def checkpointed(*args, **kwargs):
        if current_trace() is None:
            return fun(*args, **kwargs)
        leaves, structure = tree.flatten(args)
        body = record_body(lambda args: fun(*args, **kwargs), f"function {getattr(fun, '__name__', 'fun')!r}",
                           argument_of(leaves, structure, "arg"))
        op = Checkpoint(closed(body, body.captured), policy)
        results = emit_traced(op, *map(as_array, leaves), *body.captured)
        return tree.unflatten(body.structure, results if isinstance(results, tuple) else (results,))
    return checkpointed


# ---- rules as graphs -------------------------------------------------------------------------------------------------
def _argument(types: Sequence[TensorType], structure: tree.Structure | None, name: str) -> Argument:
    """What a rule takes: leaves of these types, as a tree of `structure` or as a tuple."""
    structure = structure or tree.structure((0,) * len(types))
    names = tuple(f"{name}{i}" for i in range(len(types)))
    return Argument(tuple(types), names, (False,) * len(types), structure)


def _types(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types)) or "nothing"


def _fitted(found, argument: Argument, what: str) -> list:
    """The cotangents that a rule gives, for the leaves of its arguments that are floats."""
    if not isinstance(found, tuple):
        raise trace_error(f"{what} returns {type(found).__name__}, a tuple with a cotangent for each argument was "
                          f"expected")
    arguments = tree.unflatten(argument.structure, argument.types)
    if len(found) != len(arguments):
        raise trace_error(f"{what} gives {len(found)} cotangents for {len(arguments)} arguments")
    result = []
    for number, (cotangent, types) in enumerate(zip(found, arguments)):
        expected, structure = tree.flatten(types)
        leaves = [None] * len(expected) if cotangent is None else tree.leaves(cotangent, is_leaf=lambda x: x is None)
        if len(leaves) != len(expected):
            raise trace_error(f"{what} gives a tree of {len(leaves)} cotangents for argument {number}, which has "
                              f"{len(expected)} leaves")
        for leaf, t in zip(leaves, expected):
            if not t.dtype.is_float:
                continue
            array = zeros(t.shape, t.dtype) if leaf is None else as_array(leaf)
            if tuple(array.shape) != t.shape or not dtype_of(array).is_float:
                raise shape_error(f"{what} gives a cotangent {type_of(array)} for argument {number}, which is {t}")
            result.append(cast(array, t.dtype))
    return result


def _captured_first(graph: Graph, captured: int) -> Graph:
    """`graph` with its last `captured` parameters in front of the others."""
    own = len(graph.params) - captured
    return _reordered(graph, [*range(own, len(graph.params)), *range(own)])


def _captured_between(graph: Graph, before: int, captured: int) -> Graph:
    """`graph` with its last `captured` parameters behind the first `before` ones."""
    own = len(graph.params) - captured
    return _reordered(graph, [*range(before), *range(own, len(graph.params)), *range(before, own)])


def _reordered(graph: Graph, order: Sequence[int]) -> Graph:
    builder = Builder(graph.name)
    by_place = {i: builder.parameter(graph.params[i].type, graph.params[i].name) for i in order}
    return builder.finish(inline(builder, graph, [by_place[i] for i in range(len(order))]))
