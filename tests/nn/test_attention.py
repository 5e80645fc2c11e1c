"""Is attention PyTorch's, with masks, and are caches, rotary positions and shared heads what their definitions say?"""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

torch = pytest.importorskip("torch")
KEY = lm.random.key(3)
RNG = np.random.default_rng(4)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(got, expected, atol=2e-6):
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=atol)


def to_itself(layer, **kwargs):
    return lambda x: layer(x, x, x, need_weights=False, **kwargs)[0]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [True, False])
def test_self_attention(like_torch, batch_first, bias):
    theirs = torch.nn.MultiheadAttention(8, 2, bias=bias, batch_first=batch_first)
    ours = nn.MultiHeadAttention(8, 2, bias=bias, batch_first=batch_first, key=KEY)
    like_torch(ours, theirs, draw(5, 3, 8), batch=0 if batch_first else 1, call=to_itself(theirs))


def test_masks(like_torch):
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    ours, x = nn.MultiHeadAttention(8, 2, batch_first=True, key=KEY), draw(3, 5, 8)
    seen = np.tril(np.ones((5, 5), bool))
    like_torch(ours, theirs, x, call=to_itself(theirs, attn_mask=torch.from_numpy(~seen)), mask=seen)
    like_torch(ours, theirs, x, call=to_itself(theirs, attn_mask=torch.from_numpy(~seen)), is_causal=True)
    added = draw(5, 5)
    like_torch(ours, theirs, x, call=to_itself(theirs, attn_mask=torch.from_numpy(added)), mask=added)
    padding = np.array([[0, 0, 0, 1, 1], [0] * 5, [0, 1, 1, 1, 1]], bool)
    like_torch(ours, theirs, x, batch=None, call=to_itself(theirs, key_padding_mask=torch.from_numpy(padding)),
               key_padding_mask=padding)
    both = to_itself(theirs, key_padding_mask=torch.from_numpy(padding).float().masked_fill_(
        torch.from_numpy(padding), -np.inf), attn_mask=torch.from_numpy(added))
    like_torch(ours, theirs, x, batch=None, call=both, key_padding_mask=padding, mask=added)


def test_attention_to_another_sequence_of_another_width(like_torch):
    theirs = torch.nn.MultiheadAttention(8, 4, kdim=6, vdim=7)
    ours = nn.MultiHeadAttention(8, 4, kdim=6, vdim=7, key=KEY)
    like_torch(ours, theirs, draw(5, 2, 8), draw(3, 2, 6), draw(3, 2, 7), batch=1,
               call=lambda q, k, v: theirs(q, k, v, need_weights=False)[0])
    theirs, ours = torch.nn.MultiheadAttention(8, 4), nn.MultiHeadAttention(8, 4, key=KEY)
    like_torch(ours, theirs, draw(5, 2, 8), draw(3, 2, 8), batch=1,
               call=lambda q, k: theirs(q, k, k, need_weights=False)[0])


def test_shared_heads_are_repeated_heads():
    few = nn.MultiHeadAttention(12, 6, num_kv_heads=2, batch_first=True, key=KEY)
    many = nn.MultiHeadAttention(12, 6, batch_first=True, key=KEY)
    q, k, v = np.split(few.in_proj_weight, [12, 16])
    k, v = (np.repeat(w.reshape(2, 2, 12), 3, axis=0).reshape(12, 12) for w in (k, v))
    many = many.replace(in_proj_weight=np.concatenate([q, k, v]), out_proj=few.out_proj)
    x = draw(2, 5, 12)
    close(few(x, is_causal=True), many(x, is_causal=True))
    close(nn.apply(few, x, key=KEY)[0], many(x))


@pytest.mark.parametrize("options", [{}, dict(num_kv_heads=2), dict(rotary_base=10000.0),
                                     dict(num_kv_heads=1, rotary_base=500.0)], ids=str)
def test_a_cache_gives_step_by_step_what_causal_attention_gives_at_once(options):
    layer, x = nn.MultiHeadAttention(8, 4, batch_first=True, key=KEY, **options), draw(3, 7, 8)
    expected = layer(x, is_causal=True)
    step = lm.jit(lambda layer, x, cache: layer(x, is_causal=True, cache=cache))
    cache, found = layer.new_cache(3, 9), []
    for start, stop in ((0, 3), (3, 4), (4, 5), (5, 7)):
        output, cache = step(layer, x[:, start:stop], cache)
        found.append(output)
    assert cache.length == 7 and (cache.keys[:, :, 7:] == 0).all()
    close(np.concatenate(found, axis=1), expected)
    for got, want in zip(layer(x, cache=layer.new_cache(3, 9)), (layer(x), cache)):  # not causal: all that is filled
        lm.tree.map(close, got, want)


def test_rotated_products_depend_on_distance_alone():
    q, k = draw(1, 6), draw(1, 6)
    def product(i, j):
        return float(nn.rotate(q, [i])[0] @ nn.rotate(k, [j])[0])
    assert product(5, 3) == pytest.approx(product(12, 10), rel=1e-4)
    assert product(5, 3) != pytest.approx(product(5, 4), rel=1e-4)
    close(nn.rotate(q, [0]), q)
    turned = np.array([q[0, 0] * np.cos(2) - q[0, 3] * np.sin(2), q[0, 3] * np.cos(2) + q[0, 0] * np.sin(2)])
    close(nn.rotate(q, [2])[0, [0, 3]], turned)


def test_sinusoidal_embedding():
    found = nn.sinusoidal_embedding([0, 1, 50], 6)
    frequencies = 1 / 10000 ** (np.arange(3) / 2)
    angles = np.array([[0], [1], [50]]) * frequencies
    close(found, np.concatenate([np.sin(angles), np.cos(angles)], axis=1), atol=1e-5)


def test_dropout_of_weights_keeps_the_mean():
    layer, x = nn.MultiHeadAttention(8, 2, dropout=0.5, batch_first=True, key=KEY), draw(1, 6, 8)
    draws = [nn.apply(layer, x, key=k, is_causal=True)[0] for k in lm.random.split(KEY, 400)]
    assert np.abs(draws[0] - draws[1]).max() > 1e-2
    close(np.mean(draws, axis=0), layer(x, is_causal=True), atol=0.1)


@pytest.mark.parametrize("options", [{}, dict(norm_first=True, activation="gelu"), dict(batch_first=True, bias=False)],
                         ids=str)
def test_transformer_layers(like_torch, options):
    batch = 0 if options.get("batch_first") else 1
    ours, theirs = nn.TransformerEncoderLayer(8, 2, 16, key=KEY, **options), torch.nn.TransformerEncoderLayer(
        8, 2, 16, **options)
    like_torch(ours, theirs, draw(5, 3, 8), batch=batch, atol=1e-5)
    extent = 3 if batch == 0 else 5
    mask = torch.nn.Transformer.generate_square_subsequent_mask(extent)
    like_torch(ours, theirs, draw(5, 3, 8), batch=batch, atol=1e-5, is_causal=True, call=lambda x: theirs(x, mask))
    ours, theirs = nn.TransformerDecoderLayer(8, 2, 16, key=KEY, **options), torch.nn.TransformerDecoderLayer(
        8, 2, 16, **options)
    like_torch(ours, theirs, draw(5, 3, 8), draw(5, 3, 8), batch=batch, atol=1e-5, is_causal=True,
               call=lambda x, m: theirs(x, m, mask))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_stacks_of_transformer_layers(like_torch):
    ours = nn.TransformerEncoder([nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, key=k)
                                  for k in lm.random.split(KEY, 3)], nn.LayerNorm(8))
    theirs = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3,
                                         torch.nn.LayerNorm(8))
    like_torch(ours, theirs, draw(3, 5, 8), atol=1e-5)
    x = draw(2, 4, 8)
    caches, found = [layer.self_attn.new_cache(2, 4) for layer in ours.layers], []
    for i in range(4):
        output, caches = ours(x[:, i:i + 1], is_causal=True, cache=caches)
        found.append(output)
    close(np.concatenate(found, axis=1), ours(x, is_causal=True), atol=1e-5)
    ours = nn.TransformerDecoder([nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, key=k)
                                  for k in lm.random.split(KEY, 2)])
    theirs = torch.nn.TransformerDecoder(torch.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 2)
    like_torch(ours, theirs, draw(3, 5, 8), draw(3, 4, 8), atol=1e-5)


def test_what_does_not_fit_is_named():
    with pytest.raises(lm.ShapeError, match="each must divide"):
        nn.MultiHeadAttention(8, 3, key=KEY)
    with pytest.raises(lm.ShapeError, match="turn pairs"):
        nn.MultiHeadAttention(6, 2, rotary_base=1e4, key=KEY)
    layer = nn.MultiHeadAttention(8, 2, batch_first=True, key=KEY)
    with pytest.raises(lm.ShapeError, match="makes one that fits"):
        layer(draw(2, 3, 8), cache=layer.new_cache(1, 5))
    with pytest.raises(lm.TraceError, match="no activation 'tan'"):
        nn.TransformerEncoderLayer(8, 2, activation="tan", key=KEY)
