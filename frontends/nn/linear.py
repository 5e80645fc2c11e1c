"""Which layers multiply by a matrix, or look rows up in one?  Linear, Bilinear, Embedding."""

from __future__ import annotations

from .. import array as lm
from .. import random
from ..array.operands import Array, as_array, shape_text
from ..array.tracer import shape_error
from . import initializers
from .initializers import Initializer
from .module import Module


class Linear(Module):
    """x W^T + b along the last axis: [..., in_features] to [..., out_features]; weight [out_features, in_features]."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, key, dtype="float32",
                 weight_init: Initializer = initializers.fan_in_uniform, bias_init: Initializer | None = None):
        first, second = random.split(key)
        self.in_features, self.out_features = in_features, out_features
        self.weight = weight_init(first, (out_features, in_features), dtype)
        draw = bias_init or initializers.uniform_bound(in_features)
        self.bias = draw(second, (out_features,), dtype) if bias else None

    def __call__(self, x) -> Array:
        x = as_array(x)
        if not x.shape or x.shape[-1] != self.in_features:
            raise shape_error(f"Linear({self.in_features}, {self.out_features}) of shape {shape_text(x.shape)}: the "
                              f"last axis has {self.in_features} features")
        y = lm.matmul(x, lm.matrix_transpose(self.weight))
        return y if self.bias is None else lm.add(y, self.bias)


class Bilinear(Module):
    """x W_k y + b_k for each output k: x [..., in1_features], y [..., in2_features]; weight [out, in1, in2]."""

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, *, key,
                 dtype="float32"):
        first, second = random.split(key)
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        draw = initializers.uniform_bound(in1_features)
        self.weight = draw(first, (out_features, in1_features, in2_features), dtype)
        self.bias = draw(second, (out_features,), dtype) if bias else None

    def __call__(self, x, y) -> Array:
        found = lm.einsum("...i,kij,...j->...k", x, self.weight, y)
        return found if self.bias is None else lm.add(found, self.bias)


class Embedding(Module):
    """The rows of weight [num_embeddings, embedding_dim] that integers of any shape name.

    The row `padding_idx` begins as zeros and is read as zeros always, so that it gets no gradient.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *, key,
                 dtype="float32", weight_init: Initializer = initializers.normal()):
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        weight = weight_init(key, (num_embeddings, embedding_dim), dtype)
        if self.padding_idx is not None:
            weight = lm.where(lm.expand_dims(lm.arange(num_embeddings) == self.padding_idx, 1), 0, weight)
        self.weight = weight

    def __call__(self, indices) -> Array:
        rows = lm.embedding(indices, self.weight)
        if self.padding_idx is None:
            return rows
        return lm.where(lm.expand_dims(lm.equal(as_array(indices), self.padding_idx), -1), 0, rows)
