"""Do pointwise convolutions keep channels last, between convolutions that want them so, in training too?  And what is stored of them?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.graph.text import parse_graph
from lamina.compiler.ops.contract import Contract
from lamina.compiler.ops.control import Fused
from lamina.compiler.ops.conv import Conv
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.passes.layout import propagate_layout

from ..plan.programs import floats

rng = np.random.default_rng(0)


def normalized(x):
    mean = lm.mean(x, axis=(0, 2, 3))
    return lm.batch_norm(x, mean, lm.mean(lm.square(x - mean[:, None, None]), axis=(0, 2, 3)))


def bottleneck(x, *weights):
    """A convolution 3x3, then two pointwise ones with normalizations by the batch's statistics between them; channels first."""
    x = normalized(lm.conv(x, weights[0], padding=1))
    for w in weights[1:]:
        x = lm.relu(normalized(lm.conv(x, w)))
    return x


SHAPES = (2, 3, 5, 7), (4, 3, 3, 3), (6, 4, 1, 1), (8, 6, 1, 1)


@pytest.mark.parametrize("gradient", [False, True])
def test_pointwise_convolutions_keep_channels_last(gradient):
    def loss(*arrays):
        return lm.sum(lm.square(bottleneck(*arrays)))
    graph = lm.trace(lm.grad(loss, argnums=(1, 2, 3)) if gradient else loss, *(floats(*s) for s in SHAPES))
    moved = propagate_layout(canonicalize(graph))
    maps = [n.results[0].shape for n in moved.nodes if isinstance(n.op, Contract) and n.results[0].type.rank == 4]
    assert len(maps) == (4 if gradient else 2)
    assert all(shape[:3] == (2, 5, 7) for shape in maps), "channels last"
    arrays = [rng.standard_normal(s).astype("float32") for s in SHAPES]
    for got, want in zip(moved.evaluate(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_normalization_s_gradient_stores_one_map_a_kernel():
    """Products store the cotangent alone; each normalization's gradient is two kernels."""
    def loss(*arrays):
        return lm.sum(lm.square(bottleneck(*arrays)))
    executable = lm.compile(lm.trace(lm.grad(loss, argnums=(1, 2, 3)), *(floats(*s) for s in SHAPES)))
    fused = [n for n in parse_graph(executable.text("fused")).nodes if isinstance(n.op, Fused)]
    assert all(len(n.results) == 1 for n in fused if n.op.kind == "contraction")
    sums = [n for n in fused if n.op.kind == "reduction" and (2, 5, 7) in (p.shape[:3] for p in n.op.body.params)]
    assert len(sums) <= 3 * 3, "for each normalization one for its statistics and two for its gradient"


@pytest.mark.parametrize("extent", [8, 7])
def test_the_gradient_of_a_strided_pointwise_convolution_multiplies_no_zeros(extent):
    x, w = rng.standard_normal((2, 3, extent, extent)).astype("float32"), rng.standard_normal((5, 3, 1, 1)).astype("float32")
    graph = lm.trace(lm.grad(lambda x, w: lm.sum(lm.square(lm.conv(x, w, strides=2))), argnums=(0, 1)), x, w)
    convolutions = [n for n in canonicalize(graph).nodes if isinstance(n.op, Conv)]
    assert all(n.op.input_dilation == (1, 1) for n in convolutions)
    products = [n.results[0].shape for n in canonicalize(graph).nodes if isinstance(n.op, Contract)]
    assert (2, 3, (extent + 1) // 2, (extent + 1) // 2) in [(s[0], *sorted(s[1:])) for s in products]
    for got, want in zip(lm.compile(graph)(x, w), graph.evaluate(x, w), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
