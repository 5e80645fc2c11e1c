"""Which recurrent network reads text best?  RNN, GRU and LSTM, character by character, on Python's documentation.

    python examples/recurrent.py [--short]

Each reads `pydoc_data.topics` in parallel strands and takes its state along from one window to the next: it may
remember more than the window through which gradients flow. Bits per character on the last tenth of the text: RNN 1.90,
GRU 1.77, LSTM 1.74, where bigrams have 3.35, in 111 s of processor time on two cores; with --short (smaller, two
passes) 2.47, 2.31 and 2.50 in 10 s.
"""

import argparse
import time

import numpy as np

import lamina as lm
from lamina import nn

STRANDS, WINDOW = 32, 32


class Reader(nn.Module):
    """Embedding, a recurrent layer, and a linear layer to the logits of the next character."""

    def __init__(self, kind: str, characters: int, width: int, *, key):
        keys = lm.random.split(key, 3)
        self.embedding = nn.Embedding(characters, 32, key=keys[0])
        self.layer = getattr(nn, kind)(32, width, key=keys[1])
        self.out = nn.Linear(width, characters, key=keys[2])

    def __call__(self, text, state=None):
        """(logits f32[time, batch, characters], the last state) of text i[time, batch] behind a state."""
        x, state = self.layer(self.embedding(text), state)
        return self.out(x), state


def load() -> tuple[np.ndarray, np.ndarray, int]:
    """The text in strands to learn from and to test, i32[time, 32], and how many characters there are."""
    from pydoc_data.topics import topics
    text = np.array(list("".join(topics[name] for name in sorted(topics))))
    characters, numbers = np.unique(text, return_inverse=True)
    cut = len(numbers) * 9 // 10

    def strands(part):
        return part[:len(part) // STRANDS * STRANDS].reshape(STRANDS, -1).T.astype(np.int32)
    return strands(numbers[:cut]), strands(numbers[cut:]), len(characters)


def windows(strands: np.ndarray) -> np.ndarray:
    """Windows i32[count, WINDOW + 1, 32], each of which begins with the last characters of the one before."""
    starts = range(0, len(strands) - WINDOW - 1, WINDOW)
    return np.stack([strands[i:i + WINDOW + 1] for i in starts])


def loss_of(model, window, state):
    logits, state = model(window[:-1], state)
    return nn.cross_entropy(logits, window[1:], axis=-1), state


def train(kind: str, text: np.ndarray, characters: int, width: int, passes: int) -> Reader:
    """A reader after so many passes over the text: one program for each pass, the loop over windows in it."""
    model, parts = Reader(kind, characters, width, key=lm.random.key(0)), windows(text)
    optimizer = lm.optim.Adam(lm.optim.schedules.cosine(5e-3, passes * len(parts)))

    def step(carry, window):
        model, memory, state = carry
        (value, state), gradient = lm.value_and_grad(loss_of, has_aux=True)(model, window, state)
        gradient, _ = lm.optim.clip_by_global_norm(gradient, 1.0)
        return (*optimizer.update(gradient, memory, model), lm.tree.map(lm.stop_gradient, state)), value

    @lm.jit(donate_argnums=(0,))
    def read(carry, parts):
        return lm.scan(step, carry, parts)
    memory = optimizer.init(model)
    for _ in range(passes):
        zeros = lm.zeros((1, STRANDS, width))
        (model, memory, _), _ = read((model, memory, (zeros, zeros) if kind == "LSTM" else zeros), parts)
    return model


@lm.jit
def bits(model, parts, state):
    """Bits per character of windows that follow each other."""
    def step(state, window):
        value, state = loss_of(model, window, state)
        return state, value
    return lm.mean(lm.scan(step, state, parts)[1]) / lm.log(2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="smaller networks, for a shorter time")
    width, passes = (64, 2) if parser.parse_args().short else (192, 8)
    begun, results = time.process_time(), []
    learned, tested, characters = load()
    for kind in ("RNN", "GRU", "LSTM"):
        model, zeros = train(kind, learned, characters, width, passes), lm.zeros((1, STRANDS, width))
        found = bits(model, windows(tested), (zeros, zeros) if kind == "LSTM" else zeros)
        results.append(f"{kind} {found:.2f}")
        print(f"{kind}: {nn.count_parameters(model):,} parameters")
    counts = np.ones((characters, characters))
    np.add.at(counts, (learned[:-1], learned[1:]), 1)
    bigrams = -np.log2((counts / counts.sum(1, keepdims=True))[tested[:-1], tested[1:]]).mean()
    print(f"bits per character: {', '.join(results)}, bigrams {bigrams:.2f}; {time.process_time() - begun:.0f} s of "
          f"processor time")


if __name__ == "__main__":
    main()
