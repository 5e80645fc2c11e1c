"""Does the shadow in double precision compute what the operators do?"""

from dataclasses import replace

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.check import expect
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.ops.op import REGISTRY
from lamina.frontends.bisect.shadow import shadow


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_has_a_shadow(name):
    for sample in REGISTRY[name].samples():
        builder = Builder("sample", fold=False)
        params = [builder.parameter(TensorType(a.shape, as_dtype(a.dtype)), f"x{i}") for i, a in enumerate(sample.arrays)]
        graph = builder.finish(list(builder.emit_all(sample.op, *params)))
        with np.errstate(all="ignore"):
            wanted = sample.op.evaluate(*sample.arrays)
        for want, got, result in zip(wanted, shadow(graph, sample.arrays), graph.results):
            assert got.shape == want.shape and (got.dtype == np.float64 if result.dtype.is_float else got.dtype == want.dtype)
            if not result.dtype.is_float:
                assert np.array_equal(got, want)
                continue
            allowed = expect("", want)
            near = replace(allowed, tolerance=8 * allowed.tolerance, unstable=np.isinf(want.astype(np.float64)))  # f64 overflows later
            with np.errstate(all="ignore"):
                assert not near.wrong(got.astype(want.dtype)).any(), sample.op


def test_it_does_not_round():
    graph = lm.trace(lambda x: (x + np.float32(1e8)) - np.float32(1e8), lm.TensorSpec((1,)))
    x = np.array([0.125], np.float32)
    assert shadow(graph, [x])[0] == 0.125 != graph.evaluate(x)[0]


def test_groups_are_looked_into():
    from lamina.frontends.report.levels import Levels
    graph = Levels(lm.trace(lambda x: lm.tanh(x) * 2.0, lm.TensorSpec((4,)))).graph("fused")
    seen = []
    shadow(graph, [np.ones(4, np.float32)], watch=lambda node, results: seen.append(node.op.name))
    assert "tanh" in seen and "mul" in seen and seen[-1] == "fused"
