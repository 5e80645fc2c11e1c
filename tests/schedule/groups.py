"""Which groups are schedules tried on?  Every kind of kernel; extents of 1, primes and whole tiles; constants, dims."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

import lamina as lm
from lamina.compiler.core.options import Options
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.graph.builder import rebuild
from lamina.compiler.graph.graph import Graph, Node
from lamina.compiler.ops.constant import Constant
from lamina.compiler.ops.control import Fused
from lamina.compiler.pipeline import STAGES, run_pipeline
from lamina.compiler.plan.memory import plan_memory
from lamina.compiler.plan.place import place_graph
from lamina.compiler.plan.program import Program
from lamina.compiler.targets.find import find_target

from ..plan.programs import floats


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def attended(q, k, v):
    return lm.softmax(q @ lm.swapaxes(k, -1, -2) * 0.125, axis=-1) @ v


def lstm(x, h, c):
    gates = x @ draw(13, 4 * 37, seed=1) + h @ draw(37, 4 * 37, seed=2)
    i, f, g, o = lm.split(gates, 4, axis=-1)
    c = lm.sigmoid(f) * c + lm.sigmoid(i) * lm.tanh(g)
    return lm.sigmoid(o) * lm.tanh(c), c


def convolution(x, *window, **choices):
    return lm.relu(lm.conv(x, draw(*window, seed=3), layout="NHWC", **choices))


@cache
def graphs() -> dict[str, Graph]:
    """Traced graphs by name."""
    trace = lm.trace
    return {
        "product": trace(lambda x: lm.gelu(x @ draw(67, 53, seed=1)), floats(29, 67)),
        "one row": trace(lambda x: x @ draw(67, 131, seed=1), floats(1, 67)),
        "one column": trace(lambda x: x @ draw(67, 1, seed=1), floats(31, 67)),
        "product of inputs": trace(lambda x, y: x @ y, floats(37, 41), floats(41, 71)),
        "batched product": trace(lambda x, y: x @ y, floats(3, 17, 19), floats(3, 19, 64)),
        "float64": trace(lambda x: x @ draw(32, 48).astype("float64"), floats(16, 32, dtype="float64")),
        "symbolic rows": trace(lambda x: x @ draw(24, 40), floats("n", 24), dims={"n": (1, 64)}),
        "pointwise convolution": trace(lambda x: convolution(x, 1, 1, 24, 37), floats(1, 7, 7, 24)),
        "strided convolution": trace(lambda x: convolution(x, 3, 3, 5, 33, strides=2, padding=1), floats(2, 11, 13, 5)),
        "winograd": trace(lambda x: convolution(x, 3, 3, 19, 37, padding=1), floats(1, 13, 11, 19)),
        "small winograd": trace(lambda x: convolution(x, 3, 3, 16, 32, padding=1), floats(1, 3, 3, 16)),
        "depthwise": trace(lambda x: convolution(x, 3, 3, 1, 24, padding=1, groups=24), floats(1, 9, 13, 24)),
        "narrow": trace(lambda x: convolution(x, 3, 3, 32, 3, padding=1), floats(1, 8, 11, 32)),
        "attention": trace(attended, *(floats(2, 37, 16) for _ in range(3))),
        "one query": trace(attended, floats(2, 1, 16), floats(2, 37, 16), floats(2, 37, 16)),
        "cell": trace(lstm, floats(1, 13), floats(1, 37), floats(1, 37)),
        "cells": trace(lstm, floats(5, 13), floats(5, 37), floats(5, 37)),
        "loops": trace(lambda x: lm.tanh(x) * 0.5 + x, floats(13, 101)),
        "softmax": trace(lambda x: lm.softmax(x, axis=-1), floats(31, 97)),
        "columns": trace(lambda x: lm.mean(x, axis=0), floats(31, 97)),
        "scalar": trace(lambda x: lm.exp(x) + 1.0, floats()),
    }


def fused(graph: Graph, options: Options = Options()) -> Graph:
    """`graph` as groups, before weights are packed."""
    target = find_target(options.target)
    for stage in STAGES:
        if stage.name == "pack":
            return graph
        graph = stage.run(graph, target, options, Remarks())


def program_of_groups(graph: Graph, target: str = "host") -> Program:
    """The program of a graph that is fused already."""
    found = find_target(target)
    program = place_graph(run_pipeline(graph, found, Options(target=target), Remarks(), after="fuse"), found)
    return replace(program, plan=plan_memory(program))


def constants_of(node: Node) -> frozenset[int]:
    """The numbers of its operands that are constants."""
    return frozenset(i for i, o in enumerate(node.operands) if isinstance(o.op, Constant))


def with_schedule(graph: Graph, wanted: Node, schedule) -> Graph:
    """`graph`, whose group `wanted` has this schedule."""
    def transform(builder, node, operands):
        return builder.emit_all(replace(node.op, schedule=schedule), *operands) if node is wanted else None
    return rebuild(graph, transform=transform, fold=False)


def groups(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if isinstance(n.op, Fused)]
