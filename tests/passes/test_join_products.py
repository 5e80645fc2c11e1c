"""Are products of one operand joined where views read them, and left alone where something is done on their tiles?"""

import numpy as np
import pytest

import lamina as lm

rng = np.random.default_rng(0)
W = [rng.uniform(-1, 1, (24, 32)).astype("float32") for _ in range(3)]
B = [rng.uniform(-1, 1, 32).astype("float32") for _ in range(3)]
X = rng.uniform(-1, 1, (2, 7, 24)).astype("float32")


def heads(x):
    return lm.swapaxes(lm.reshape(x, (2, 7, 4, 8)), 1, 2)


def products_of(function, *arrays):
    """The kernels' labels; native results are those of the references."""
    executable = lm.compile(function, *arrays)
    np.testing.assert_allclose(executable(*arrays)[0], function(*arrays), rtol=1e-4, atol=1e-5)
    return [kernel["label"] for kernel in executable.kernels if kernel["label"].startswith("contract")]


@pytest.mark.parametrize("biases", [B, [0, 0, 0]], ids=["bias", "none"])
def test_queries_keys_and_values_are_one_product(biases):
    def attention(x):
        q, k, v = (heads(x @ w + b) if np.ndim(b) else heads(x @ w) for w, b in zip(W, biases))
        return lm.softmax(q @ lm.swapaxes(k, -1, -2), axis=-1) @ v
    first, second = products_of(attention, X)
    assert first == ("contract+add" if np.ndim(biases[0]) else "contract") and "exp" in second


def test_different_widths_are_joined():
    def attention(x):
        q, k = heads(x @ W[0] + B[0]), heads(x @ W[1] + B[1])
        v = lm.swapaxes(lm.reshape(x @ W[2][:, :12] + B[2][:12], (2, 7, 4, 3)), 1, 2)
        return lm.softmax(q @ lm.swapaxes(k, -1, -2), axis=-1) @ v
    assert len(products_of(attention, X)) == 2


@pytest.mark.parametrize("function", [
    lambda x: heads(lm.relu(x @ W[0] + B[0])) + heads(lm.relu(x @ W[1] + B[1])),  # an epilogue of their own
    lambda x: heads(x @ W[0] + B[0]) @ lm.swapaxes(heads((x + 1) @ W[1] + B[1]), -1, -2),  # of two operands
    lambda x: heads(x @ W[0] + x[..., :1]) @ lm.swapaxes(heads(x @ W[1] + x[..., 1:2]), -1, -2),  # no bias
], ids=["elementwise", "operands", "addend"])
def test_others_stay_apart(function):
    assert len(products_of(function, X)) >= 2
    labels = products_of(function, X)
    assert sum(label.startswith("contract+add") for label in labels) == 2


def test_a_result_stays_a_product_of_its_own():
    def both(x):
        q = x @ W[0] + B[0]
        return q, heads(x @ W[1] + B[1])
    executable = lm.compile(both, X)
    assert [k["label"] for k in executable.kernels][:2] == ["contract+add", "contract+add"]
