"""What are the layers of a transformer?  Encoder and decoder layers, and stacks of them, with PyTorch's names.

Vaswani and others, "Attention is all you need", 2017; `norm_first` normalizes before each part (Xiong and others, "On
layer normalization in the transformer architecture", 2020).
"""

from __future__ import annotations

from typing import Callable, Sequence

from .. import array as lm
from .. import random
from ..array.operands import Array
from ..array.tracer import trace_error
from .attention import KeyValueCache, MultiHeadAttention
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

ACTIVATIONS = {"relu": lm.relu, "gelu": lm.gelu}


class _TransformerLayer(Module):
    """What encoder and decoder layers share: attention to itself, and two linear layers at each position."""

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: str | Callable = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, *, num_kv_heads: int | None = None,
                 rotary_base: float | None = None, key, dtype="float32"):
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            raise trace_error(f"there is no activation {activation!r}", hint="relu, gelu, or a function")
        self.activation = ACTIVATIONS.get(activation, activation)
        self.norm_first = norm_first
        attention, first, second = random.split(key, 3)
        self.self_attn = MultiHeadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, key=attention,
                                            num_kv_heads=num_kv_heads, rotary_base=rotary_base, dtype=dtype)
        self.linear1 = Linear(d_model, dim_feedforward, bias, key=first, dtype=dtype)
        self.linear2 = Linear(dim_feedforward, d_model, bias, key=second, dtype=dtype)
        self.norm1, self.norm2 = (LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype) for _ in range(2))
        self.dropout = Dropout(dropout)

    def _add(self, x: Array, norm: LayerNorm, part: Callable[[Array], Array]) -> Array:
        """x plus a part of it, normalized before the part or after the sum."""
        if self.norm_first:
            return lm.add(x, self.dropout(part(norm(x))))
        return norm(lm.add(x, self.dropout(part(x))))

    def _feed_forward(self, x: Array) -> Array:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_TransformerLayer):
    """Attention of x to itself and a feed-forward part, each added to what went in.

    `layer(x, mask=None, key_padding_mask=None, is_causal=False, cache=None)`, with the masks and the cache of
    MultiHeadAttention: with `cache` the result is (x, cache). A decoder-only transformer is made of these, causal.
    """

    def __call__(self, x, mask=None, *, key_padding_mask=None, is_causal: bool = False,
                 cache: KeyValueCache | None = None):
        def attend(x):
            nonlocal cache
            found = self.self_attn(x, mask=mask, key_padding_mask=key_padding_mask, is_causal=is_causal, cache=cache)
            mixed, cache = (found, None) if cache is None else found
            return mixed
        x = self._add(self._add(x, self.norm1, attend), self.norm2, self._feed_forward)
        return x if cache is None else (x, cache)


class TransformerDecoderLayer(_TransformerLayer):
    """Attention of x to itself and to `memory` (what an encoder made), and a feed-forward part."""

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: str | Callable = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, *, key, dtype="float32"):
        own, other = random.split(key)
        super().__init__(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
                         bias, key=own, dtype=dtype)
        self.multihead_attn = MultiHeadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, key=other,
                                                 dtype=dtype)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

    def __call__(self, x, memory, mask=None, memory_mask=None, *, key_padding_mask=None, memory_key_padding_mask=None,
                 is_causal: bool = False) -> Array:
        def attend(x):
            return self.self_attn(x, mask=mask, key_padding_mask=key_padding_mask, is_causal=is_causal)

        def look_up(x):
            return self.multihead_attn(x, memory, memory, mask=memory_mask, key_padding_mask=memory_key_padding_mask)
        x = self._add(self._add(x, self.norm1, attend), self.norm2, look_up)
        return self._add(x, self.norm3, self._feed_forward)


class TransformerEncoder(Module):
    """Encoder layers on top of each other, and a last normalization where `norm` is one.

    `TransformerEncoder([TransformerEncoderLayer(512, 8, key=k) for k in lm.random.split(key, 6)])`. With `cache`, a
    list of one for each layer, the result is (x, caches).
    """

    def __init__(self, layers: Sequence[TransformerEncoderLayer], norm: Module | None = None):
        self.layers, self.norm = list(layers), norm

    def __call__(self, x, mask=None, *, key_padding_mask=None, is_causal: bool = False,
                 cache: Sequence[KeyValueCache] | None = None):
        caches = []
        for i, layer in enumerate(self.layers):
            x = layer(x, mask, key_padding_mask=key_padding_mask, is_causal=is_causal,
                      cache=None if cache is None else cache[i])
            if cache is not None:
                x, new = x
                caches.append(new)
        x = x if self.norm is None else self.norm(x)
        return x if cache is None else (x, caches)


class TransformerDecoder(Module):
    """Decoder layers on top of each other, and a last normalization where `norm` is one."""

    def __init__(self, layers: Sequence[TransformerDecoderLayer], norm: Module | None = None):
        self.layers, self.norm = list(layers), norm

    def __call__(self, x, memory, mask=None, memory_mask=None, *, key_padding_mask=None, memory_key_padding_mask=None,
                 is_causal: bool = False) -> Array:
        for layer in self.layers:
            x = layer(x, memory, mask, memory_mask, key_padding_mask=key_padding_mask,
                      memory_key_padding_mask=memory_key_padding_mask, is_causal=is_causal)
        return x if self.norm is None else self.norm(x)
