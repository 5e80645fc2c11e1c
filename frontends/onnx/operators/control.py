"""If, Loop and Scan."""

from __future__ import annotations

import numpy as np

from ....compiler.core.dims import DimExpr
from ....compiler.core.dtypes import bool_, int64
from ... import array as lm
from ...array.operands import as_array, cast
from ..symbolic import SymbolicArray
from ..table import Refusal, Sequenced, operator
from .shape import reshape_to
from .values import known_dims

UNROLLED = 4096  # steps of a loop that may be unrolled, where it has to be


@operator("If")
def if_(condition, *, then_branch, else_branch, context):
    on_true, on_false = (context.importer.body(g, context.scope, context.name) for g in (then_branch, else_branch))
    if isinstance(condition, np.ndarray):
        return tuple((on_true if condition.all() else on_false)())
    return lm.cond(reshape_to(condition, ()), _or_refused_with(on_true, on_false), _or_refused_with(on_false, on_true))


def _or_refused_with(first, second):
    """`first`; where it is refused, `second` runs all the same, so that the problems of both are found."""
    def run():
        try:
            return first()
        except Refusal:
            second()
            raise
    return run


@operator("Loop", dims=("trips", "state"))
def loop(trips=None, condition=None, *state, body, context):
    """Up to `trips` steps while the condition holds. A counted loop is a scan; one that ends by its condition is a
    while, and can't stack outputs, whose length would depend on the data."""
    run = context.importer.body(body, context.scope, context.name)
    carried, stacked = len(state), context.outputs - len(state)
    count = known_dims(trips, "trips")[0] if isinstance(trips, (np.ndarray, SymbolicArray)) else trips
    if condition is None or isinstance(condition, np.ndarray):
        if condition is not None and not condition.all():
            count = 0
        if isinstance(count, int) and all(isinstance(v, (np.ndarray, Sequenced)) for v in state):
            return _unrolled(run, count, state, carried, stacked)
        if isinstance(count, (int, DimExpr)):
            results = _counted(run, count, [as_array(v) for v in state], carried)
            if results is not None:
                return results
    if stacked:
        raise Refusal("it stacks outputs over steps whose number is not known while importing")
    if any(isinstance(v, Sequenced) for v in state):
        raise Refusal("it carries a sequence over steps whose number is not known while importing")
    return tuple(_while(run, count, condition, [as_array(v) for v in state]))


def _unrolled(run, count: int, state, carried: int, stacked: int):
    """Step by step: for what is known, and for sequences, whose length changes."""
    outputs = [[] for _ in range(stacked)]
    for i in range(count):
        if i == UNROLLED:
            raise Refusal(f"more than {UNROLLED} steps would be unrolled")
        again, *results = run(np.asarray(i, np.int64), np.asarray(True), *state)
        state = results[:carried]
        for column, value in zip(outputs, results[carried:]):
            column.append(value)
        if not isinstance(again, np.ndarray):
            raise Refusal("it carries a sequence and ends by a condition that is not known while importing")
        if not again.all():
            break
    if not all(outputs):
        raise Refusal("it stacks outputs of no steps")
    return (*state, *(lm.stack(column) for column in outputs))


def _counted(run, count, state: list, carried: int):
    """As a scan, or None where the body computes a condition that may end it."""
    ends = []

    def step(carry, scanned):
        again, *results = run(scanned[0], np.asarray(True), *carry)
        ends.append(not (isinstance(again, np.ndarray) and again.all()))
        return results[:carried], results[carried:]
    final, ys = lm.scan(step, state, [lm.arange(count)], name="a Loop")
    return None if any(ends) else (*final, *ys)


def _while(run, count, condition, state: list) -> list:
    limit = None if count is None else cast(reshape_to(as_array(count), ()), int64)

    def holds(carry):
        i, again, *_ = carry
        return again if limit is None else lm.logical_and(again, i < limit)

    def step(carry):
        i, again, *values = carry
        again, *results = run(i, again, *values)
        return [i + 1, reshape_to(again, ()), *results]
    first = np.asarray(True) if condition is None else cast(reshape_to(condition, ()), bool_)
    return lm.while_loop(holds, step, [np.asarray(0, np.int64), first, *state])[2:]


@operator("Scan", 9)
def scan_9(*values, body, num_scan_inputs, scan_input_axes=None, scan_input_directions=None, scan_output_axes=None,
           scan_output_directions=None, context):
    """Scan over axes of the last `num_scan_inputs` values, forward or backward; outputs are stacked likewise."""
    carried = len(values) - num_scan_inputs
    run = context.importer.body(body, context.scope, context.name)
    xs = []
    for i, x in enumerate(values[carried:]):
        x = lm.moveaxis(x, scan_input_axes[i] if scan_input_axes else 0, 0)
        xs.append(lm.flip(x, axis=0) if scan_input_directions and scan_input_directions[i] else x)

    def step(carry, scanned):
        results = run(*carry, *scanned)
        return results[:carried], results[carried:]
    final, ys = lm.scan(step, list(values[:carried]), xs, name="a Scan")
    for i, y in enumerate(ys):
        y = lm.flip(y, axis=0) if scan_output_directions and scan_output_directions[i] else y
        ys[i] = lm.moveaxis(y, 0, scan_output_axes[i] if scan_output_axes else 0)
    return (*final, *ys)


@operator("Scan", 8)
def scan_8(*values, body, num_scan_inputs, directions=None):
    raise Refusal("Scan of opset 8, with a batch axis and sequence lengths", ())
