"""Do pointwise convolutions keep channels last, between convolutions that want them so, in training too?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.ops.contract import Contract
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
