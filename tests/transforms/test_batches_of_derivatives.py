"""Do batches and derivatives exchange?  The derivative of a batch, and a batch of derivatives, is that of each set."""

import numpy as np
import pytest

from lamina.compiler.ops.batching import batched_graph
from lamina.compiler.transforms.reverse import reverse

from ..ops.samples import all_samples, assert_close
from ..ops.test_batches import SIZE, varied
from ..ops.test_derivatives import evaluate, floats, graph_of, has_derivative, is_differentiable, wide


def first_samples(count: int):
    found: dict[str, list] = {}
    for param in all_samples(lambda op: is_differentiable(type(op))):
        (sample,) = param.values
        if has_derivative(sample):
            found.setdefault(sample.op.name, []).append(param)
    return [p for params in found.values() for p in params[:count]]


@pytest.mark.parametrize("sample", first_samples(4))
def test_batches_and_derivatives_exchange(sample):
    arrays = wide(sample)
    graph = graph_of(sample.op, arrays)
    wrt = floats(arrays)
    pulled = reverse(graph, wrt)
    sets = [[varied(np.asarray(a), i) for a in arrays] for i in range(SIZE)]
    rng = np.random.default_rng(0)
    cotangents = [[rng.normal(size=p.shape) for p in pulled.params[len(arrays):]] for _ in range(SIZE)]
    expected = [evaluate(pulled, s + c) for s, c in zip(sets, cotangents)]
    many = [np.stack(column) for column in zip(*(s + c for s, c in zip(sets, cotangents)))]
    flags = (True,) * len(many)
    of_derivatives, _ = batched_graph(pulled, flags, SIZE, (True,) * len(pulled.results))
    batch, _ = batched_graph(graph, (True,) * len(arrays), SIZE, (True,) * len(graph.results))
    for found in (evaluate(of_derivatives, many), evaluate(reverse(batch, wrt), many)):
        for i, one in enumerate(expected):
            for got, want in zip(found, one, strict=True):
                assert_close(got[i], want, 1e-10)
