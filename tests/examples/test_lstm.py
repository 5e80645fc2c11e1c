"""Is the LSTM example torch's LSTM, in one layer and in two, for any length?"""

import numpy as np
import pytest

import lamina as lm


@pytest.fixture(scope="module")
def example_lstm(example):
    return example("lstm")


@pytest.mark.parametrize("sizes", [(3, 5), (8, 16, 4)], ids=["one layer", "two layers"])
def test_it_is_torchs_lstm(example_lstm, sizes):
    torch = pytest.importorskip("torch")
    layers = [example_lstm.random_params(width, hidden, seed) for seed, (width, hidden) in enumerate(zip(sizes, sizes[1:]))]
    network = lm.compile(lambda xs: example_lstm.stacked(layers, xs), lm.TensorSpec(("time", "batch", sizes[0])))
    for time, batch in ((1, 1), (7, 2), (40, 3)):
        xs = np.random.default_rng(time).standard_normal((time, batch, sizes[0])).astype(np.float32)
        expected = torch.from_numpy(xs)
        for params in layers:
            theirs = torch.nn.LSTM(params["weight_ih"].shape[1], params["weight_hh"].shape[1])
            theirs.load_state_dict({f"{name}_l0": torch.from_numpy(value) for name, value in params.items()})
            expected, _ = theirs(expected)
        (outputs,) = network(xs)
        assert outputs.shape == expected.shape
        assert np.abs(outputs - expected.detach().numpy()).max() < 1e-6


def test_the_last_state_is_the_last_output(example_lstm):
    params = example_lstm.random_params(4, 6)
    xs = np.random.default_rng(0).standard_normal((5, 2, 4)).astype(np.float32)
    outputs, (h, c) = lm.jit(example_lstm.lstm)(params, xs)
    assert np.array_equal(outputs[-1], h)
    assert h.shape == c.shape == (2, 6) and np.abs(np.tanh(c)).max() >= np.abs(h).max()


def test_the_script_runs_sequences_of_both_lengths(example_lstm, run_main):
    out = run_main(example_lstm)
    assert "float32[10, 4, 64]" in out and "float32[500, 4, 64]" in out
