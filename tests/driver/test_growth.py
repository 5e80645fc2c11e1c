"""Does the work of compiling grow in step with the graph?  Calls of functions are counted, since times waver."""

import sys

import lamina as lm
import numpy as np
import pytest
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.driver import planned
from lamina.compiler.pipeline import run_pipeline
from lamina.compiler.targets.find import find_target


def chain(layers):
    """Elementwise ops with a different number each."""
    def function(x):
        for i in range(layers):
            x = lm.abs(x) + np.float32(i + 0.5)
        return x
    return function, [lm.TensorSpec((8, 8))]


def residual(layers):
    """Products, additions to what went in, and reductions, one after the other."""
    def function(x, w):
        for _ in range(layers):
            x = x + lm.relu(x @ w)
            x = x - lm.mean(x, axis=-1, keepdims=True)
        return x
    return function, [lm.TensorSpec((8, 16)), lm.TensorSpec((16, 16))]


def branches(layers):
    """Groups that differ in a number alone, all of one input, all ready from the start."""
    def function(x):
        total = x
        for i in range(layers):
            total = total + lm.sum(lm.exp(x * np.float32(i + 1.5)), axis=-1, keepdims=True)
        return total
    return function, [lm.TensorSpec((8, 16))]


def calls(model, layers):
    """How many functions are called between the traced graph and its program."""
    function, specs = model(layers)
    graph = lm.trace(function, *specs)
    target, options = find_target("host"), lm.Options()
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")
    outer = sys.getprofile()
    sys.setprofile(counted)
    try:
        planned(run_pipeline(graph, target, options, Remarks()), target, options, ())
    finally:
        sys.setprofile(outer)
    return count


@pytest.mark.parametrize("model", [chain, residual, branches])
def test_four_times_the_layers_are_at_most_five_times_the_work(model):
    calls(model, 10)  # what is made once and kept
    small, large = calls(model, 100), calls(model, 400)
    assert large < 5 * small
