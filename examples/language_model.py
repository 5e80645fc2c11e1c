"""How is a transformer language model trained?  Character by character, on the documentation that Python carries.

    python examples/language_model.py [--short]

A causal transformer (Vaswani and others, 2017; normalized first, rotary positions) learns to tell the next character of
`pydoc_data.topics`. It is judged by bits per character on the last tenth of the text: 1.88, where a bigram model has
3.35, after 183 s of processor time on two cores (--short: 2.5 to 2.7). Then it writes some text, one character at a
time with a cache of keys and values.
"""

import argparse
import time

import numpy as np

import lamina as lm
from lamina import nn


class LanguageModel(nn.Module):
    """Embedding, encoder layers under a causal mask, and the embedding again as the output's weights."""

    def __init__(self, characters: int, width: int, depth: int, *, key):
        keys = lm.random.split(key, depth + 1)
        self.embedding = nn.Embedding(characters, width, key=keys[0], weight_init=nn.initializers.normal(0, 0.02))
        self.encoder = nn.TransformerEncoder(
            [nn.TransformerEncoderLayer(width, width // 32, 4 * width, dropout=0.0, activation="gelu", norm_first=True,
                                        batch_first=True, bias=False, rotary_base=1e4, key=k) for k in keys[1:]],
            nn.LayerNorm(width, bias=False))

    def __call__(self, characters, cache=None):
        """Logits f32[batch, length, characters] of characters i32[batch, length]; with `cache`, also what it became."""
        x = self.encoder(self.embedding(characters), is_causal=True, cache=cache)
        x, cache = (x, None) if cache is None else x
        logits = x @ self.embedding.weight.T
        return logits if cache is None else (logits, cache)


def load() -> tuple[np.ndarray, np.ndarray, str]:
    """The text as numbers of characters: nine tenths to learn from, the last one to test; and the characters."""
    from pydoc_data.topics import topics
    text = "".join(topics[name] for name in sorted(topics))
    characters = "".join(sorted(set(text)))
    numbers = np.searchsorted(np.array(list(characters)), np.array(list(text))).astype(np.int32)
    cut = len(numbers) * 9 // 10
    return numbers[:cut], numbers[cut:], characters


def bigram_bits(learned: np.ndarray, tested: np.ndarray, characters: int) -> float:
    """Bits per character of the model that knows only the character before, its counts increased by one."""
    counts = np.ones((characters, characters))
    np.add.at(counts, (learned[:-1], learned[1:]), 1)
    return float(-np.log2((counts / counts.sum(1, keepdims=True))[tested[:-1], tested[1:]]).mean())


def loss_of(model, windows):
    """The mean cross-entropy of each character of windows i32[batch, length + 1] behind those before it."""
    return nn.cross_entropy(model(windows[:, :-1]), windows[:, 1:], axis=-1)


def train(text: np.ndarray, model: LanguageModel, steps: int, batch: int, length: int) -> LanguageModel:
    """The model after so many steps on windows of the text, chosen at random."""
    schedule = lm.optim.schedules.warmup(lm.optim.schedules.cosine(3e-3, steps), steps // 20)
    optimizer = lm.optim.AdamW(schedule, weight_decay=0.1, decayed=lambda path, p: p.ndim > 1)
    state, rng = optimizer.init(model), np.random.default_rng(0)

    @lm.jit(donate_argnums=(0, 1))
    def step(model, state, windows):
        value, gradient = lm.value_and_grad(loss_of)(model, windows)
        gradient, _ = lm.optim.clip_by_global_norm(gradient, 1.0)
        return *optimizer.update(gradient, state, model), value
    for number in range(steps):
        starts = rng.integers(0, len(text) - length, batch)
        model, state, value = step(model, state, text[starts[:, None] + np.arange(length + 1)])
        if number % (steps // 10) == 0:
            print(f"step {number}: {float(value) / np.log(2):.2f} bits per character")
    return model


def test_bits(text: np.ndarray, model: LanguageModel, length: int) -> float:
    """Bits per character of the text, cut into windows."""
    windows = np.stack([text[i:i + length + 1] for i in range(0, len(text) - length, length)])[:256]
    return float(lm.jit(loss_of)(model, windows) / np.log(2))


def write(model: LanguageModel, characters: str, begin: str, count: int, temperature: float = 0.7) -> str:
    """`begin` and so many characters that the model draws behind it."""
    cache = [layer.self_attn.new_cache(1, len(begin) + count) for layer in model.encoder.layers]

    @lm.jit
    def draw(model, seen, cache, key):
        logits, cache = model(seen, cache)
        return lm.random.categorical(key, logits[:, -1] / temperature), cache
    text, seen = begin, np.array([[characters.index(c) for c in begin]], np.int32)
    for i in range(count):
        drawn, cache = draw(model, seen, cache, lm.random.fold_in(lm.random.key(0), i))
        text, seen = text + characters[drawn[0]], drawn.astype(np.int32)[None]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a smaller model, for a shorter time")
    short, begun = parser.parse_args().short, time.perf_counter()
    learned, tested, characters = load()
    length = 64 if short else 128
    model = LanguageModel(len(characters), *((64, 2) if short else (128, 4)), key=lm.random.key(0))
    print(f"{nn.count_parameters(model):,} parameters, {len(learned):,} characters of {len(characters)} kinds")
    model = train(learned, model, steps=600 if short else 1000, batch=16, length=length)
    print(write(model, characters, "The ", 200))
    print(f"{test_bits(tested, model, length):.2f} bits per character on the test text, "
          f"{bigram_bits(learned, tested, len(characters)):.2f} by bigrams, in {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
