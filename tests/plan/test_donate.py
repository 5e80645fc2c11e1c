"""Do results take over the memory of donated inputs where nothing else needs it, and never where something does?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.errors import VerifyError
from lamina.compiler.plan.interpret import run
from lamina.compiler.plan.text import parse_program, print_program, program_constants

from .programs import arrays_of, floats, program_of


def shared(function, *specs, donate, dims=None):
    """The (output, input) pairs that share memory; the program computes what the graph does, natively and interpreted."""
    graph = lm.trace(function, *specs, dims=dims)
    program = program_of(graph, donate=donate).verify()
    arrays = arrays_of(graph)
    wanted = graph.evaluate(*arrays)
    executable = lm.compile(graph, donate=donate)
    for results in (run(program, arrays), executable(*[a.copy() for a in arrays])):
        for got, want in zip(results, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    back = parse_program(print_program(program), program.kernels, program_constants(program))
    assert back == program
    return [(j, port.shares) for j, port in enumerate(program.outputs) if port.shares is not None]


def momentum(w, m, x):
    g = lm.matmul(x.T, lm.matmul(x, w))
    m = 0.9 * m + g
    return w - 0.1 * m, m


def test_an_update_lies_where_its_parameter_did():
    assert shared(momentum, floats(8, 5), floats(8, 5), floats(16, 8), donate=(0, 1)) == [(0, 0), (1, 1)]
    assert shared(momentum, floats(8, 5), floats(8, 5), floats(16, 8), donate=(1,)) == [(0, 1)]


def test_adam_runs_in_place_in_one_kernel():
    def adam(g, p, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        return p - m / (lm.sqrt(v) + 1e-8), m, v
    assert shared(adam, *[floats(1009)] * 4, donate=(1, 2, 3)) == [(0, 1), (1, 2), (2, 3)]


def test_steps_wait_for_the_last_that_reads_the_input():
    def backward(w1, w2, x):
        h = lm.matmul(x, w1)
        d = lm.matmul(h, w2)
        new = w2 - lm.matmul(h.T, d)  # as traced it runs before w2 is read for the last time
        return new, w1 - lm.matmul(x.T, lm.matmul(d, w2.T))
    assert shared(backward, floats(7, 7), floats(7, 7), floats(7, 7), donate=(0, 1)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("function", [
    lambda x, y: lm.flip(x, axis=0) + 1,  # elements move
    lambda x, y: lm.matmul(x, y),
    lambda x, y: x[0] + y,
    lambda x, y: lm.concat([lm.tanh(x)[:2], lm.exp(x)[2:]], axis=0),
    lambda x, y: lm.scan(lambda c, r: (c + r, c * r), y[0], x)[1],
    lambda x, y: (lm.tanh(x) + lm.flip(x, axis=0), lm.softmax(lm.flip(x, axis=0)[:3], axis=1)),
], ids=["flip", "matmul", "row", "joined", "scan", "flipped too"])
def test_what_is_needed_is_kept(function):
    assert shared(function, floats(5, 5), floats(5, 5), donate=(0,)) == []


def test_an_input_that_is_a_result_too_is_copied_first():
    assert shared(lambda x: (lm.tanh(x), x), floats(5, 5), donate=(0,)) == [(0, 0)]


def test_results_of_other_types_don_t_fit():
    assert shared(lambda x: (lm.sum(x, axis=0), x.astype("float64"), x.T * 2), floats(3, 4), donate=(0,)) == []


def test_two_that_would_wait_for_each_other_share_once():
    assert shared(lambda x, y: (lm.matmul(y, y), lm.matmul(x, x)), floats(6, 6), floats(6, 6), donate=(0, 1)) == [(0, 0)]


def test_symbolic_extents():
    assert shared(lambda x: lm.exp(x) - 1, floats("n", 3), donate=(0,), dims={"n": (1, 9)}) == [(0, 0)]


def test_a_result_that_would_overwrite_what_is_still_read_is_refused():
    graph = lm.trace(lambda x: (lm.sum(x, axis=0), lm.flip(x, axis=0) + 1), floats(5, 5))
    program = program_of(graph)
    text = print_program(program, kernels=True)
    broken = text.replace("output 0 out0: f32[5]", "output 0 out0: f32[5] shares input 0")
    assert broken != text
    with pytest.raises(VerifyError, match=r"f32\[5\] can't lie in the memory of 'x'"):
        parse_program(broken, constants=program_constants(program)).verify()
    graph = lm.trace(lambda x: (lm.matmul(x, x), lm.matmul(lm.matmul(x, x.T), x)), floats(5, 5))
    text = print_program(program_of(graph), kernels=True)
    broken = text.replace("output 0 out0: f32[5, 5]", "output 0 out0: f32[5, 5] shares input 0")
    with pytest.raises(VerifyError, match="'x', whose memory it shares, is still to be read"):
        parse_program(broken).verify()


def test_the_array_that_was_given_is_returned():
    step = lm.jit(lambda w, x: w + x, donate_argnums=0)
    w, x = np.zeros(1000, "float32"), np.ones(1000, "float32")
    result = step(w, x)
    assert result is w
    np.testing.assert_array_equal(w, x)


def test_memory_that_is_not_the_caller_s_to_give_is_copied():
    step = lm.jit(lambda w, x: (w + 1, lm.flip(x) + w), donate_argnums=0)
    w = np.arange(1000, dtype="float32")
    want = w + 1, w[::-1] + w
    for got, expected in zip(step(w, w), want):  # the same memory twice
        np.testing.assert_array_equal(got, expected)
    big = np.arange(2000, dtype="float32")
    for got, expected in zip(step(big[:1000], big[500:1500]), (big[:1000] + 1, big[500:1500][::-1] + big[:1000])):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(big, np.arange(2000))
    w.flags.writeable = False
    np.testing.assert_array_equal(step(w, w * 2)[0], want[0])
    np.testing.assert_array_equal(w, np.arange(1000))


def test_the_header_says_so():
    from lamina.compiler.codegen.c_names import c_model
    from lamina.compiler.codegen.header import header_text
    manifest = lm.compile(lambda w, x: w + x, floats(4), floats(4), donate=(0,)).artifact.manifest
    assert "out0: float32 [4], may be the same array as w\n" in header_text(c_model(manifest, "step"), manifest, "0")
