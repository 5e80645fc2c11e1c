"""How does a decoder write text token by token?  GPT-2 as plain functions, with a key-value cache.

    python examples/gpt2.py                                          a small decoder with random weights
    python examples/gpt2.py --weights model.safetensors --prompt 15496,11,995       GPT-2's own, 124M

The model is that of Radford and others, 2019 ("Language Models are Unsupervised Multitask Learners"), with the names of
its published weights. One function is compiled twice: for prompts of any length, and for one token behind a cache of
any length. It returns the new rows of the cache; the loop that calls it writes them behind the others.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np

import lamina as lm


@dataclass(frozen=True)
class Config:
    """The sizes of a decoder; the defaults are small enough to run anywhere, GPT-2's own are layers=12, heads=12,
    width=768, context=1024, vocabulary=50257."""

    layers: int = 4
    heads: int = 4
    width: int = 256
    context: int = 256
    vocabulary: int = 1024


def random_weights(config: Config, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights by GPT-2's names, drawn as it was initialized: normal with deviation 0.02, norms 1, biases 0."""
    draw = np.random.default_rng(seed).standard_normal
    width = config.width
    shapes = {"wte": (config.vocabulary, width), "wpe": (config.context, width)}
    for i in range(config.layers):
        for name, columns, rows in (("attn.c_attn", 3 * width, width), ("attn.c_proj", width, width),
                                    ("mlp.c_fc", 4 * width, width), ("mlp.c_proj", width, 4 * width)):
            shapes[f"h.{i}.{name}"] = (rows, columns)
    weights = {f"{name}.weight": draw(shape).astype(np.float32) * np.float32(0.02) for name, shape in shapes.items()}
    weights |= {f"{name}.bias": np.zeros(shape[1], np.float32) for name, shape in shapes.items() if name[0] == "h"}
    for name in ("ln_f", *(f"h.{i}.ln_{k}" for i in range(config.layers) for k in (1, 2))):
        weights |= {f"{name}.weight": np.ones(width, np.float32), f"{name}.bias": np.zeros(width, np.float32)}
    return weights


# ---- the model -------------------------------------------------------------------------------------------------------
def make_step(w: dict[str, np.ndarray], config: Config):
    """The function that reads the next tokens of a text, for the weights `w`."""

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def norm(x, name):
        return lm.layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def attend(x, past, seen, name):
        q_k_v = linear(x, f"{name}.c_attn").reshape(x.shape[0], 3, config.heads, -1)
        rows = q_k_v[:, 1:]
        keys, values = lm.unstack(lm.concat([past, rows]), axis=1)
        mixed = lm.attention(*(a.transpose(1, 0, 2) for a in (q_k_v[:, 0], keys, values)), seen)
        return linear(mixed.transpose(1, 0, 2).reshape(*x.shape), f"{name}.c_proj"), rows

    def step(tokens, past):
        """The logits f32[vocabulary] behind the last of `tokens` i64[n], and their own rows of the cache. `past` holds
        those of the tokens before: keys and values, f32[before, layers, 2, heads, width / heads]."""
        at = past.shape[0] + lm.arange(tokens.shape[0])
        seen = lm.arange(past.shape[0] + tokens.shape[0]) <= at[:, None]
        x = lm.embedding(tokens, w["wte.weight"]) + lm.embedding(at, w["wpe.weight"])
        rows = []
        for i in range(config.layers):
            mixed, new = attend(norm(x, f"h.{i}.ln_1"), past[:, i], seen, f"h.{i}.attn")
            rows.append(new)
            x = x + mixed
            hidden = lm.gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate=True)
            x = x + linear(hidden, f"h.{i}.mlp.c_proj")
        return w["wte.weight"] @ norm(x[-1], "ln_f"), lm.stack(rows, axis=1)

    return step


class Decoder:
    """A decoder compiled twice: `prefill` reads a prompt of any length, `decode` one token behind others."""

    def __init__(self, weights: dict[str, np.ndarray], config: Config):
        self.config = config
        self.row = (config.layers, 2, config.heads, config.width // config.heads)
        step = make_step(weights, config)

        def compiled(tokens, past):
            return lm.compile(step, lm.TensorSpec((tokens,), "int64"), lm.TensorSpec((past, *self.row)))
        self.prefill = compiled(f"tokens=1..{config.context}", 0)
        self.decode = compiled(1, f"past=1..{config.context - 1}")

    def generate(self, prompt: list[int], count: int):
        """Yield `count` tokens behind the prompt, the likeliest one each time."""
        cache = np.empty((len(prompt) + count, *self.row), np.float32)
        filled = len(prompt)
        logits, cache[:filled] = self.prefill(np.array(prompt), cache[:0])
        for _ in range(count - 1):
            token = logits.argmax()
            yield int(token)
            logits, cache[filled:filled + 1] = self.decode(token[None], cache[:filled])
            filled += 1
        yield int(logits.argmax())


def main() -> None:
    parser = argparse.ArgumentParser(description="greedy text from a GPT-2 decoder, as token ids")
    parser.add_argument("--weights", metavar="FILE", help="GPT-2's weights as safetensors (default: small and random)")
    parser.add_argument("--prompt", default="1,2,3", metavar="IDS", help="token ids to begin with (default 1,2,3)")
    parser.add_argument("--tokens", type=int, default=64, metavar="N", help="how many to write (default 64)")
    arguments = parser.parse_args()
    config = Config()
    if arguments.weights:
        from safetensors.numpy import load_file
        weights, config = load_file(arguments.weights), Config(12, 12, 768, 1024, 50257)
    else:
        weights = random_weights(config)
    decoder = Decoder(weights, config)
    prompt = [int(token) for token in arguments.prompt.split(",")]
    begun = time.perf_counter()
    for token in decoder.generate(prompt, arguments.tokens):
        print(token, end=" ", flush=True)
    print(f"\n{arguments.tokens / (time.perf_counter() - begun):.0f} tokens per second")


if __name__ == "__main__":
    main()
