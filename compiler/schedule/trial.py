"""Which program shows how fast a group runs by each of several schedules?  One in which they run as in a model.

In a model a group finds what the kernel before it has just written, and weights that others have pushed out of the
caches since the last call. So each candidate's operands are copied in front of it, and where the model has other
weights, as many bytes are read before that. All candidates run in each call, so that what disturbs one disturbs the
others; the first runs once more in front, since a call's first launches find threads that still wake up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

import numpy as np

from ..core.dtypes import float32
from ..core.schedule import Schedule
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value
from ..ops.constant import Constant
from ..ops.control import Fused
from ..ops.reduce import Reduce
from ..plan.groups import copy_group


def label_of(schedule: Schedule) -> str:
    """The label of the launch that follows this schedule."""
    return f"candidate {schedule}"


def trial_graph(node: Node, schedules: Sequence[Schedule], others: np.ndarray | None) -> Graph:
    """The groups that run the group `node` by each schedule, in this order; `label_of` gives their launches' labels.
    `others`, float32 of one axis, are as large as the model's other weights; None where it has hardly any."""
    builder = Builder("trial", fold=False)
    constants = {o: builder.constant(o.op.array, o.op.label) for o in node.operands if isinstance(o.op, Constant)}
    params = {o: builder.parameter(o.type) for o in dict.fromkeys(node.operands) if o not in constants}
    results: list[Value] = []
    labels = ["first", *map(label_of, schedules)]
    for number, (label, schedule) in enumerate(zip(labels, (schedules[0], *schedules))):
        if others is not None:
            results.append(builder.emit(_largest(others.shape[0], number), builder.constant(others)))
        own = dict(constants)
        for old, param in params.items():
            own[old] = builder.emit(replace(copy_group(old.type), label=f"copy {number}"), param)
        group = replace(node.op, label=label, schedule=schedule)
        results += builder.emit_all(group, *(own[o] for o in node.operands))
    return builder.finish(results)


def _largest(size: int, number: int) -> Fused:
    """A group that reads `size` elements of float32."""
    builder = Builder("sweep", fold=False)
    x = builder.parameter(TensorType((size,), float32), "x")
    return Fused(builder.finish([builder.emit(Reduce("max", (0,)), x)]), "reduction", f"sweep {number}")
