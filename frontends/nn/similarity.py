"""How alike are two vectors, and what does a loss make of it?  Cosine, margin, triplet and contrastive losses.

Names, defaults and reductions are PyTorch's; vectors lie along the last axis.
"""

from __future__ import annotations

from .. import array as lm
from ..array.neural import widened
from ..array.operands import Array, as_array, as_operand, cast, dtype_of
from .losses import cross_entropy, pair, reduced


def cosine_similarity(x, y, *, axis: int = -1, eps: float = 1e-8) -> Array:
    """x . y / (|x| |y|) along `axis`; each norm is at least `eps`."""
    x, dtype = widened(x, y)
    y = as_operand(y, dtype_of(x))
    dot = lm.sum(lm.multiply(x, y), axis=axis)
    square = lm.multiply(lm.maximum(lm.sum(lm.square(x), axis=axis), eps * eps),
                         lm.maximum(lm.sum(lm.square(y), axis=axis), eps * eps))
    return cast(lm.multiply(dot, lm.rsqrt(square)), dtype)


def pairwise_distance(x, y, *, p: float = 2.0, eps: float = 1e-6) -> Array:
    """The p-norm of x - y + eps along the last axis; `eps` keeps the gradient of equal vectors finite."""
    x, dtype = widened(x, y)
    difference = lm.add(lm.subtract(x, as_operand(y, dtype_of(x))), eps)
    if p == 2:
        return cast(lm.sqrt(lm.sum(lm.square(difference), axis=-1)), dtype)
    total = lm.sum(lm.power(lm.abs(difference), float(p)), axis=-1)
    return cast(lm.power(total, 1.0 / p), dtype)


def cosine_embedding_loss(x, y, target, *, margin: float = 0.0, reduction: str = "mean") -> Array:
    """1 - cosine where the target is 1, max(0, cosine - margin) where it is -1."""
    cosine = cosine_similarity(x, y)
    loss = lm.where(lm.equal(as_array(target), 1), lm.subtract(1, cosine), lm.relu(lm.subtract(cosine, margin)))
    return reduced(loss, reduction)


def hinge_embedding_loss(distance, target, *, margin: float = 1.0, reduction: str = "mean") -> Array:
    """The distance where the target is 1, max(0, margin - distance) where it is -1."""
    x, dtype = widened(distance)
    loss = lm.where(lm.equal(as_array(target), 1), x, lm.relu(lm.subtract(margin, x)))
    return cast(reduced(loss, reduction), dtype)


def margin_ranking_loss(x, y, target, *, margin: float = 0.0, reduction: str = "mean") -> Array:
    """max(0, margin - target * (x - y)): a target of 1 wants x above y, -1 below."""
    x, y, dtype = pair(x, y, "margin_ranking_loss")
    loss = lm.relu(lm.subtract(margin, lm.multiply(as_operand(target, dtype_of(x)), lm.subtract(x, y))))
    return cast(reduced(loss, reduction), dtype)


def triplet_margin_loss(anchor, positive, negative, *, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
                        reduction: str = "mean") -> Array:
    """max(0, |anchor - positive| - |anchor - negative| + margin) (Schroff and others, "FaceNet", 2015)."""
    near, far = (pairwise_distance(anchor, other, p=p, eps=eps) for other in (positive, negative))
    return reduced(lm.relu(lm.add(lm.subtract(near, far), margin)), reduction)


def contrastive_loss(x, y, *, temperature: float = 0.07, reduction: str = "mean") -> Array:
    """InfoNCE in both directions: row i of x [N, D] shall find row i of y among all rows by cosine, and y's x's.

    van den Oord and others, "Representation learning with contrastive predictive coding", 2018, as CLIP uses it
    (Radford and others, 2021).
    """
    x, dtype = widened(x, y)
    y = as_operand(y, dtype_of(x))
    scores = lm.divide(lm.matmul(lm.normalize(x), lm.matrix_transpose(lm.normalize(y))), temperature)
    same = lm.arange(x.shape[0])
    both = lm.add(cross_entropy(scores, same, reduction="none"),
                  cross_entropy(lm.matrix_transpose(scores), same, reduction="none"))
    return cast(reduced(lm.multiply(both, 0.5), reduction), dtype)
