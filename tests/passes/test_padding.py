"""Do convolutions get their borders wherever they stand: in a graph, and in the bodies of loops and branches?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.ops.rearrange import Pad
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.passes.layout import propagate_layout
from lamina.compiler.passes.padding import separate_padding

RNG = np.random.default_rng(1)
XS, W = RNG.standard_normal((3, 2, 1, 5, 5)).astype(np.float32), RNG.standard_normal((4, 1, 3, 3)).astype(np.float32)
UP = RNG.standard_normal((1, 4, 4, 4)).astype(np.float32)


def of_each(function):
    return lambda xs: lm.scan(lambda carry, x: (carry, function(x)), 0.0, xs)[1]


def in_a_branch(xs):
    return lm.cond(lm.sum(xs) > 1e9, lambda x: lm.conv(x, -W, padding=1), lambda x: lm.conv(x, W, padding=1), xs[0])


def in_a_while_loop(xs):
    return lm.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, lm.conv(c[1], W[:1], padding=1)), (0, xs[0]))[1]


@pytest.mark.parametrize("function", [
    of_each(lambda x: lm.conv(x, W, padding=1)), of_each(lambda x: lm.conv(x, W, padding=((0, 2), (1, 0)), strides=2)),
    of_each(lambda x: lm.conv_transpose(x, UP, strides=2, padding=1)),
    of_each(lambda x: lm.conv_transpose(x, UP, strides=3)),
    of_each(lambda x: lm.grad(lambda w: lm.sum(lm.square(lm.conv(x, w, padding=1, strides=2))))(lm.asarray(W))),
    in_a_branch, in_a_while_loop], ids=["conv", "strided", "phases", "zeros", "gradient", "branch", "while"])
def test_a_convolution_in_a_body_reads_zeros_around_its_input(function):
    graph = lm.trace(function, XS)
    (expected,) = graph.evaluate(XS)
    np.testing.assert_allclose(lm.compile(graph)(XS)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_gradient_by_the_weights_sees_the_border_that_is_there(layout):
    """What the convolution pads is padded once, though its gradient sees images and channels exchanged."""
    x = RNG.standard_normal((2, 6, 5, 3)).astype(np.float32)

    def loss(x, w):
        return lm.sum(lm.square(lm.conv(lm.tanh(x), w, padding=1, layout=layout)))
    w = RNG.standard_normal((3, 3, 3, 4) if layout == "NHWC" else (4, 6, 3, 3)).astype(np.float32)
    graph = lm.trace(lm.grad(loss, argnums=1), x, w)
    pads = [node for node in separate_padding(propagate_layout(canonicalize(graph))).nodes if isinstance(node.op, Pad)]
    assert len(pads) == 1
    np.testing.assert_allclose(lm.compile(graph)(x, w)[0], graph.evaluate(x, w)[0], rtol=1e-4, atol=1e-4)
