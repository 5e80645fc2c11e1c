"""Attention and rotary embeddings, as the plain products and softmax that fusion knows."""

from __future__ import annotations

from math import sqrt

from ....compiler.core.dims import Dim
from ....compiler.core.dtypes import int64
from ....compiler.ops import Contract
from ... import array as lm
from ...array.operands import as_array, cast, dtype_of
from ...array.tracer import emit
from ..model import dtype_of_code
from ..table import Refusal, operator
from .indexing import gather
from .reduction import reduced
from .shape import padded, piece, reshape_to, transposed


@operator("Attention", 23)
def attention(q, k, v, mask=None, past_key=None, past_value=None, lengths=None, *, is_causal=0, kv_num_heads=None,
              q_num_heads=None, qk_matmul_output_mode=0, scale=None, softcap=0.0, softmax_precision=None,
              left_window_size=-1, right_window_size=-1):
    """q [B, H, S, D] or [B, S, H * D]; k, v with as many heads or fewer (grouped). Specification: ONNX Attention."""
    is_flat = len(q.shape) == 3
    if is_flat:
        if not q_num_heads or not kv_num_heads:
            raise Refusal("inputs of rank 3 need q_num_heads and kv_num_heads")
        q, k, v = (_with_heads(x, heads) for x, heads in ((q, q_num_heads), (k, kv_num_heads), (v, kv_num_heads)))
    past: Dim = 0
    if past_key is not None:
        past = past_key.shape[2]
        k, v = lm.concatenate([past_key, k], axis=2), lm.concatenate([past_value, v], axis=2)
    scores = _scores(q, k, 1.0 / sqrt(q.shape[-1]) if scale is None else scale)
    seen = [scores]
    if softcap:
        scores = lm.tanh(scores / softcap) * softcap
    seen.append(scores)
    scores = _masked(scores, mask, is_causal, past, lengths, left_window_size, right_window_size)
    seen.append(scores)
    dtype = dtype_of(scores)
    wide = cast(scores, dtype_of_code(softmax_precision)) if softmax_precision else scores
    weights = lm.softmax(wide, axis=-1)
    if scores is not seen[1]:
        empty = reduced("max", wide, (len(scores.shape) - 1,)) == as_array(float("-inf"), dtype_of(wide))
        weights = lm.where(empty, as_array(0, dtype_of(wide)), weights)
    weights = cast(weights, dtype)
    seen.append(weights)
    y = _weighted(weights, v)
    y = reshape_to(transposed(y, (0, 2, 1, 3)), (y.shape[0], y.shape[2], y.shape[1] * y.shape[3])) if is_flat else y
    return y, k, v, seen[qk_matmul_output_mode]


def _with_heads(x, heads: int):
    """[B, S, H * D] as [B, H, S, D]."""
    b, s, width = x.shape
    return transposed(reshape_to(x, (b, s, heads, width // heads)), (0, 2, 1, 3))


def _grouped(x, kv_heads: int):
    """[B, H, ...] as [B, kv heads, heads of each, ...]."""
    return reshape_to(x, (x.shape[0], kv_heads, x.shape[1] // kv_heads, *x.shape[2:]))


def _scores(q, k, scale: float):
    """q @ k transposed, times `scale`; 16-bit floats are scaled before, so that the product does not overflow."""
    if dtype_of(q).bits == 16:
        q, k, scale = q * sqrt(scale), k * sqrt(scale), 1.0
    if q.shape[1] == k.shape[1]:
        scores = emit(Contract("bhqd,bhkd->bhqk"), q, k)
    else:
        scores = emit(Contract("bhgqd,bhkd->bhgqk"), _grouped(q, k.shape[1]), k)
        scores = reshape_to(scores, (*q.shape[:3], k.shape[2]))
    return scores if scale == 1.0 else scores * scale


def _weighted(weights, v):
    if weights.shape[1] == v.shape[1]:
        return emit(Contract("bhqk,bhkd->bhqd"), weights, v)
    y = emit(Contract("bhgqk,bhkd->bhgqd"), _grouped(weights, v.shape[1]), v)
    return reshape_to(y, (*weights.shape[:3], v.shape[3]))


def _masked(scores, mask, is_causal: int, past: Dim, lengths, left: int, right: int):
    """`scores` with -inf where a query may not look, and a float mask added."""
    queries, keys = scores.shape[-2:]
    minus_infinity = as_array(float("-inf"), dtype_of(scores))
    if mask is not None:
        if mask.shape[-1] != keys:
            shorter = keys - mask.shape[-1]
            fill = False if dtype_of(mask).is_bool else float("-inf")
            mask = padded(mask, [0] * len(mask.shape), [0] * (len(mask.shape) - 1) + [shorter], fill)
        scores = lm.where(mask, scores, minus_infinity) if dtype_of(mask).is_bool else scores + mask
    allowed = []
    key = lm.arange(keys)
    offset = as_array(past)
    if lengths is not None:
        lengths = reshape_to(cast(lengths, int64), (lengths.shape[0], 1, 1, 1))
        allowed.append(key < lengths)
        offset = lengths - as_array(queries)
    place = lm.expand_dims(lm.arange(queries), 1) + offset
    if is_causal:
        allowed.append(key <= place)
    if left >= 0:
        allowed.append(key >= place - left)
    if right >= 0:
        allowed.append(key <= place + right)
    for condition in allowed:
        scores = lm.where(condition, scores, minus_infinity)
    return scores


@operator("RotaryEmbedding", 23)
def rotary_embedding(x, cos, sin, positions=None, *, interleaved=0, num_heads=0, rotary_embedding_dim=0):
    """x [B, H, S, D] or [B, S, H * D] rotated by the angles of its positions. Su et al., RoFormer, 2021."""
    is_flat, shape = len(x.shape) == 3, x.shape
    if is_flat:
        x = reshape_to(x, (shape[0], shape[1], num_heads, shape[2] // num_heads))
    size = rotary_embedding_dim or x.shape[-1]
    rest = piece(x, 3, size, x.shape[-1] - size)
    x = piece(x, 3, 0, size)
    if positions is not None:
        cos, sin = gather(cos, positions), gather(sin, positions)
    axis = 2 if is_flat else 1
    cos, sin = lm.expand_dims(cos, axis), lm.expand_dims(sin, axis)
    if interleaved:
        a, b = piece(x, 3, 0, size // 2, 2), piece(x, 3, 1, size // 2, 2)
        turned = reshape_to(lm.stack([cos * a - sin * b, sin * a + cos * b], axis=-1), x.shape)
    else:
        a, b = piece(x, 3, 0, size // 2), piece(x, 3, size // 2, size // 2)
        turned = lm.concatenate([cos * a - sin * b, sin * a + cos * b], axis=3)
    whole = lm.concatenate([turned, rest], axis=3) if rest.shape[3] else turned
    return reshape_to(whole, shape)
