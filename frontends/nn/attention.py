"""Which layer lets each position look at others?  Multi-head attention, with rotary positions and a cache of keys.

Vaswani and others, "Attention is all you need", 2017; heads that share keys: Ainslie and others, "GQA", 2023.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .. import array as lm
from .. import random
from ..array.operands import Array, as_array, as_floating, cast, dtype_of, shape_text
from ..array.tracer import shape_error
from . import initializers
from .dropout import Dropout
from .linear import Linear
from .module import Module


class KeyValueCache(NamedTuple):
    """The keys and values [batch, heads, capacity, width] of the positions before `length` (int64)."""

    keys: Array
    values: Array
    length: Array


class MultiHeadAttention(Module):
    """softmax(q k^T / sqrt(width)) v in `num_heads` parts of `embed_dim`, with projections before and after it.

    `attend(query, key=None, value=None)` of [length, batch, embed_dim] (where `batch_first` [batch, length,
    embed_dim]); key and value are the query by default. Weights lie as in PyTorch's MultiheadAttention.

    `mask` broadcasts to [batch, heads, queries, keys] (or [queries, keys]): bool says what is seen, as in
    `lm.attention`, a number is added. `key_padding_mask` [batch, keys] is True at keys that are padding. `is_causal`
    lets a query see keys up to its own position. `num_kv_heads`, fewer heads of keys and values, serve several query
    heads each. `rotary_base` (10000 is usual) turns queries and keys by their positions. With `cache` the new keys and
    values are put behind those in it, and the result is (output, cache).
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, *, num_kv_heads: int | None = None,
                 rotary_base: float | None = None, key, dtype="float32"):
        kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if embed_dim % num_heads or num_heads % kv_heads:
            raise shape_error(f"attention of width {embed_dim} with {num_heads} heads and {kv_heads} heads of keys: "
                              f"each must divide the one before")
        self.embed_dim, self.num_heads, self.num_kv_heads = embed_dim, num_heads, kv_heads
        self.head_dim = embed_dim // num_heads
        if rotary_base is not None and self.head_dim % 2:
            raise shape_error(f"rotary positions turn pairs, and a head has {self.head_dim} elements")
        self.batch_first, self.rotary_base = batch_first, rotary_base
        first, second, third, last = random.split(key, 4)
        draw, narrow = initializers.xavier_uniform(), kv_heads * self.head_dim
        self._is_packed = kdim in (None, embed_dim) and vdim in (None, embed_dim)
        if self._is_packed:
            self.in_proj_weight = draw(first, (embed_dim + 2 * narrow, embed_dim), dtype)
        else:
            self.q_proj_weight = draw(first, (embed_dim, embed_dim), dtype)
            self.k_proj_weight = draw(second, (narrow, kdim or embed_dim), dtype)
            self.v_proj_weight = draw(third, (narrow, vdim or embed_dim), dtype)
        self.in_proj_bias = lm.zeros(embed_dim + 2 * narrow, dtype) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, key=last, dtype=dtype, bias_init=initializers.zeros)
        self.dropout = Dropout(dropout)

    def __call__(self, query, key=None, value=None, *, mask=None, key_padding_mask=None, is_causal: bool = False,
                 cache: KeyValueCache | None = None):
        key = query if key is None else key
        value = key if value is None else value
        q, k, v = (self._heads(x, n) for x, n in zip(self._projected(query, key, value),
                                                     (self.num_heads, self.num_kv_heads, self.num_kv_heads)))
        start = 0 if cache is None else cache.length
        if self.rotary_base is not None:
            q, k = (rotate(x, lm.add(lm.arange(x.shape[-2]), start), self.rotary_base) for x in (q, k))
        if cache is not None:
            cache, k, v = _extended(cache, k, v)
            mask = _both(mask, _seen_of_cache(q, k, start, is_causal))
            is_causal = False
        if key_padding_mask is not None:
            mask = _both(mask, lm.logical_not(as_array(key_padding_mask))[..., None, None, :])
        if self.dropout.training and self.dropout.p > 0:
            mixed = self._with_dropout(q, k, v, mask, is_causal)
        else:
            mixed = lm.attention(q, k, v, mask, causal=is_causal)
        mixed = lm.swapaxes(mixed, -3, -2)
        mixed = lm.reshape(mixed, (*mixed.shape[:-2], self.embed_dim))
        output = self.out_proj(self._outward(mixed))
        return output if cache is None else (output, cache)

    def new_cache(self, batch: int, capacity: int, dtype="float32") -> KeyValueCache:
        """An empty cache for `capacity` positions."""
        shape = (batch, self.num_kv_heads, capacity, self.head_dim)
        return KeyValueCache(lm.zeros(shape, dtype), lm.zeros(shape, dtype), lm.zeros((), "int64"))

    def _outward(self, x: Array) -> Array:
        """Between the caller's order of axes and [batch, length, width]."""
        return x if self.batch_first or len(x.shape) < 3 else lm.swapaxes(x, 0, 1)

    def _projected(self, query, key, value) -> list[Array]:
        sizes = (self.embed_dim, *(self.num_kv_heads * self.head_dim,) * 2)
        places = (sizes[0], sizes[0] + sizes[1])
        if self._is_packed and key is query and value is query:
            both = lm.matmul(self._outward(as_array(query)), lm.matrix_transpose(self.in_proj_weight))
            both = both if self.in_proj_bias is None else lm.add(both, self.in_proj_bias)
            return lm.split(both, places, axis=-1)
        weights = (lm.split(self.in_proj_weight, places, axis=0) if self._is_packed
                   else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight))
        found = [lm.matmul(self._outward(as_array(x)), lm.matrix_transpose(w))
                 for x, w in zip((query, key, value), weights)]
        if self.in_proj_bias is None:
            return found
        return [lm.add(x, b) for x, b in zip(found, lm.split(self.in_proj_bias, places))]

    def _heads(self, x: Array, count: int) -> Array:
        """[..., length, heads * width] as [..., heads, length, width]."""
        return lm.swapaxes(lm.reshape(x, (*x.shape[:-1], count, self.head_dim)), -3, -2)

    def _with_dropout(self, q: Array, k: Array, v: Array, mask, is_causal: bool) -> Array:
        """Attention whose weights are dropped at random: `lm.attention` has no place for that."""
        if self.num_kv_heads != self.num_heads:
            k, v = (lm.repeat(x, self.num_heads // self.num_kv_heads, axis=-3) for x in (k, v))
        scores = lm.multiply(lm.matmul(q, lm.matrix_transpose(k)), 1 / math.sqrt(self.head_dim))
        if is_causal:
            mask = _both(mask, lm.tril(lm.ones(tuple(scores.shape[-2:]), "bool")))
        if mask is not None:
            mask = as_array(mask)
            scores = (lm.where(mask, scores, -math.inf) if dtype_of(mask).is_bool
                      else lm.add(scores, cast(mask, dtype_of(scores))))
        return lm.matmul(self.dropout(lm.softmax(scores)), v)


MultiheadAttention = MultiHeadAttention  # PyTorch's spelling


def _both(mask, seen: Array) -> Array:
    """A mask, and bools of what is seen besides."""
    if mask is None:
        return seen
    mask = as_array(mask)
    return lm.logical_and(mask, seen) if dtype_of(mask).is_bool else lm.where(seen, mask, -math.inf)


def _extended(cache: KeyValueCache, k: Array, v: Array) -> tuple[KeyValueCache, Array, Array]:
    if tuple(cache.keys.shape[:-2]) != tuple(k.shape[:-2]) or cache.keys.shape[-1] != k.shape[-1]:
        raise shape_error(f"a cache of {shape_text(cache.keys.shape)} for keys {shape_text(k.shape)}",
                          hint="attention.new_cache(batch, capacity) makes one that fits")
    zero = lm.zeros((), "int64")
    at = [zero] * (len(k.shape) - 2) + [cache.length, zero]
    keys, values = (lm.dynamic_update_slice(old, cast(as_floating(new), dtype_of(old)), at)
                    for old, new in ((cache.keys, k), (cache.values, v)))
    return KeyValueCache(keys, values, lm.add(cache.length, k.shape[-2])), keys, values


def _seen_of_cache(q: Array, k: Array, start: Array, is_causal: bool) -> Array:
    """[queries, capacity]: the positions that are filled, where causal up to the query's own."""
    queries = lm.add(lm.arange(q.shape[-2]), start) if is_causal else lm.add(start, q.shape[-2] - 1)
    return lm.less_equal(lm.arange(k.shape[-2])[None, :], lm.reshape(queries, (-1, 1)))


def rotate(x, positions, base: float = 10000.0) -> Array:
    """x [..., length, width] with element i and i + width / 2 turned by position / base^(2 i / width).

    Su and others, "RoFormer", 2021, in the order of halves that GPT-NeoX and Llama use.
    """
    x = as_array(x)
    half = x.shape[-1] // 2
    frequencies = lm.exp(lm.multiply(lm.arange(half, dtype="float32"), -math.log(base) / half))
    angles = lm.multiply(lm.expand_dims(lm.astype(as_array(positions), "float32"), -1), frequencies)
    cos, sin = cast(lm.cos(angles), dtype_of(x)), cast(lm.sin(angles), dtype_of(x))
    left, right = x[..., :half], x[..., half:]
    return lm.concat([lm.subtract(lm.multiply(left, cos), lm.multiply(right, sin)),
                      lm.add(lm.multiply(right, cos), lm.multiply(left, sin))], axis=-1)


def sinusoidal_embedding(positions, width: int, base: float = 10000.0) -> Array:
    """sin and cos of positions (any shape, numbers) at frequencies from 1 to 1 / base, on a new last axis of `width`:
    the sines first (Vaswani and others, 2017)."""
    if width % 2:
        raise shape_error(f"sines and cosines of {width} elements: an even number was expected")
    half = width // 2
    frequencies = lm.exp(lm.multiply(lm.arange(half, dtype="float32"), -math.log(base) / max(1, half - 1)))
    angles = lm.multiply(lm.expand_dims(lm.astype(as_array(positions), "float32"), -1), frequencies)
    return lm.concat([lm.sin(angles), lm.cos(angles)], axis=-1)
