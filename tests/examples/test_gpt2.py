"""Does the GPT-2 example write what an uncached decoder would, and is it GPT-2?"""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def gpt2(example):
    return example("gpt2")


@pytest.fixture(scope="module")
def config(gpt2):
    return gpt2.Config(layers=2, heads=2, width=32, context=24, vocabulary=61)


@pytest.fixture(scope="module")
def weights(gpt2, config):
    """Random weights, large enough that the likeliest token changes from place to place."""
    rng = np.random.default_rng(0)
    return {name: (value + 0.3 * rng.standard_normal(value.shape)).astype(np.float32)
            for name, value in gpt2.random_weights(config).items()}


@pytest.fixture(scope="module")
def decoder(gpt2, config, weights):
    return gpt2.Decoder(weights, config)


def test_cached_is_uncached(decoder, config):
    prompt, count = [5, 60, 17], config.context - 3
    written = list(decoder.generate(prompt, count))
    assert len(written) == count and len(set(written)) > 3
    text = list(prompt)
    for token in written:  # the whole text anew for every token
        logits, _ = decoder.prefill(np.array(text), np.empty((0, *decoder.row), np.float32))
        assert logits.argmax() == token
        text.append(token)


def test_the_cache_holds_what_prefill_gives(decoder):
    text = np.arange(9)
    logits, rows = decoder.prefill(text, np.empty((0, *decoder.row), np.float32))
    begun = decoder.prefill(text[:8], np.empty((0, *decoder.row), np.float32))[1]
    last, row = decoder.decode(text[8:], begun)
    assert np.abs(last - logits).max() < 1e-4 * np.abs(logits).max()
    assert np.abs(row - rows[8:]).max() < 1e-4 and np.abs(begun - rows[:8]).max() < 1e-4


def test_it_is_gpt2(decoder, config, weights):
    torch = pytest.importorskip("torch")
    w = {name: torch.from_numpy(value) for name, value in weights.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def norm(x, name):
        return torch.nn.functional.layer_norm(x, (config.width,), w[f"{name}.weight"], w[f"{name}.bias"])
    tokens = np.array([3, 1, 4, 1, 5, 9, 2, 6])
    x = w["wte.weight"][tokens] + w["wpe.weight"][:len(tokens)]
    for i in range(config.layers):
        parts = linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").split(config.width, dim=1)
        q, k, v = (p.view(len(tokens), config.heads, -1).transpose(0, 1)[None] for p in parts)
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0].transpose(0, 1).reshape(x.shape)
        x = x + linear(mixed, f"h.{i}.attn.c_proj")
        hidden = torch.nn.functional.gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate="tanh")
        x = x + linear(hidden, f"h.{i}.mlp.c_proj")
    expected = (norm(x[-1], "ln_f") @ w["wte.weight"].T).numpy()
    logits, _ = decoder.prefill(tokens, np.empty((0, *decoder.row), np.float32))
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_script_writes_tokens(gpt2, run_main):
    *_, tokens, speed = run_main(gpt2, "--prompt", "7,8", "--tokens", "5").splitlines()
    assert len(tokens.split()) == 5 and speed.endswith("tokens per second")
