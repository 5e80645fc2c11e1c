"""How wrong is a prediction?  Losses of classes and numbers, with PyTorch's names, defaults and reductions.

`reduction` is "mean" (over the elements that count), "sum" or "none". 16-bit floats are computed with in float32.
"""

from __future__ import annotations

import math

from .. import array as lm
from ..array.linear_algebra import ramp
from ..array.neural import widened
from ..array.operands import Array, as_array, as_floating, as_operand, cast, dtype_of, shape_text
from ..array.tracer import shape_error, trace_error

REDUCTIONS = ("mean", "sum", "none")


def reduced(loss: Array, reduction: str, count=None) -> Array:
    """The mean (over `count` elements where given), the sum, or each loss."""
    if reduction not in REDUCTIONS:
        raise trace_error(f"there is no reduction {reduction!r}", hint=", ".join(REDUCTIONS))
    if reduction == "none":
        return loss
    if reduction == "sum":
        return lm.sum(loss)
    return lm.mean(loss) if count is None else lm.divide(lm.sum(loss), count)


def pair(prediction, target, name: str) -> tuple[Array, Array, object]:
    """Prediction and target in the dtype to compute in, of one shape, and the dtype of the result."""
    x, dtype = widened(prediction)
    y = as_operand(as_floating(target), dtype_of(x))
    if tuple(x.shape) != tuple(y.shape):
        raise shape_error(f"{name} of a prediction {shape_text(x.shape)} and a target {shape_text(y.shape)}",
                          hint="give both one shape; broadcasting here hides mistakes")
    return x, y, dtype


# ---- classes ---------------------------------------------------------------------------------------------------------
def cross_entropy(logits, target, *, weight=None, ignore_index: int = -100, label_smoothing: float = 0.0,
                  reduction: str = "mean", axis: int = 1) -> Array:
    """-log softmax(logits) at the target's class, for logits [N, C, ...], with the classes on `axis`.

    `target` is class numbers of the shape without `axis` (those that are `ignore_index` don't count, a number that is
    no class gives NaN), or floats of the logits' shape: the probability of each class. `weight` [C] weighs classes;
    the mean is over the weights that count. `label_smoothing` mixes the target with the uniform distribution (Szegedy
    and others, 2016).
    """
    x, dtype = widened(logits)
    axis = _class_axis(axis, x)
    log_probabilities = lm.log_softmax(x, axis=axis)
    target = as_array(target)
    if dtype_of(target).is_float:
        return cast(_of_distribution(log_probabilities, target, weight, label_smoothing, reduction, axis), dtype)
    return cast(_of_classes(log_probabilities, target, weight, ignore_index, label_smoothing, reduction, axis), dtype)


def nll_loss(log_probabilities, target, *, weight=None, ignore_index: int = -100, reduction: str = "mean",
             axis: int = 1) -> Array:
    """-log_probabilities at the target's class: `cross_entropy` of what log_softmax gave."""
    x, dtype = widened(log_probabilities)
    axis = _class_axis(axis, x)
    return cast(_of_classes(x, as_array(target), weight, ignore_index, 0.0, reduction, axis), dtype)


def _class_axis(axis: int, x: Array) -> int:
    rank = len(x.shape)
    if rank == 1:
        return 0
    if not -rank <= axis < rank:
        raise shape_error(f"logits of shape {shape_text(x.shape)} have no axis {axis} of classes")
    return axis % rank


def _of_classes(x: Array, target: Array, weight, ignored: int, smoothing: float, reduction: str, axis: int) -> Array:
    expected = tuple(x.shape[:axis]) + tuple(x.shape[axis + 1:])
    if tuple(target.shape) != expected:
        raise shape_error(f"logits {shape_text(x.shape)} with classes on axis {axis} and a target "
                          f"{shape_text(target.shape)}: {shape_text(expected)} was expected",
                          hint="axis=-1 says that the last axis has the classes")
    # one-hot by comparison, not a gather: it fuses with the softmax, and its gradient scatters nothing
    number = lm.expand_dims(lm.astype(target, "int64"), axis)
    hit = lm.equal(ramp(tuple(x.shape), axis, x), number)
    scale = None if weight is None else _class_weight(weight, x, axis)
    scaled = x if scale is None else lm.multiply(x, scale)
    loss = lm.negative(lm.sum(lm.where(hit, scaled, 0), axis=axis))
    if smoothing:
        loss = lm.add(lm.multiply(loss, 1 - smoothing),
                      lm.multiply(lm.mean(scaled, axis=axis), -smoothing))
    number = lm.squeeze(number, axis)
    counts = lm.not_equal(number, ignored)
    is_class = lm.logical_and(lm.greater_equal(number, 0), lm.less(number, x.shape[axis]))
    loss = lm.where(counts, lm.where(is_class, loss, math.nan), 0)
    if scale is None:
        counted = lm.astype(counts, dtype_of(x))
    else:
        counted = lm.where(counts, lm.sum(lm.where(hit, scale, 0), axis=axis), 0)
    return reduced(loss, reduction, lm.sum(counted))


def _of_distribution(x: Array, target: Array, weight, smoothing: float, reduction: str, axis: int) -> Array:
    target = as_operand(target, dtype_of(x))
    if tuple(target.shape) != tuple(x.shape):
        raise shape_error(f"logits {shape_text(x.shape)} and probabilities {shape_text(target.shape)} of a target",
                          hint="a target of classes has integers")
    classes = x.shape[axis]
    if smoothing:
        target = lm.add(lm.multiply(target, 1 - smoothing), lm.divide(smoothing, classes))
    terms = lm.multiply(x, target)
    loss = lm.negative(lm.sum(terms if weight is None else lm.multiply(terms, _class_weight(weight, x, axis)),
                              axis=axis))
    return reduced(loss, reduction)


def _class_weight(weight, x: Array, axis: int) -> Array:
    weight = as_operand(weight, dtype_of(x))
    if tuple(weight.shape) != (x.shape[axis],):
        raise shape_error(f"the weight of classes has shape {shape_text(weight.shape)}, "
                          f"{shape_text((x.shape[axis],))} was expected")
    return lm.reshape(weight, tuple(d if i == axis else 1 for i, d in enumerate(x.shape)))


def binary_cross_entropy(probabilities, target, *, weight=None, reduction: str = "mean") -> Array:
    """-(y log p + (1 - y) log(1 - p)), the logarithms no less than -100 as in PyTorch."""
    p, y, dtype = pair(probabilities, target, "binary_cross_entropy")
    yes, no = (lm.maximum(lm.log(q), -100) for q in (p, lm.subtract(1, p)))
    loss = lm.negative(lm.add(lm.multiply(y, yes), lm.multiply(lm.subtract(1, y), no)))
    return cast(reduced(_weighted(loss, weight), reduction), dtype)


def binary_cross_entropy_with_logits(logits, target, *, weight=None, pos_weight=None, reduction: str = "mean") -> Array:
    """`binary_cross_entropy` of sigmoid(logits), without overflow; `pos_weight` weighs the term of y = 1."""
    x, y, dtype = pair(logits, target, "binary_cross_entropy_with_logits")
    tail = lm.softplus(lm.negative(x))  # -log sigmoid(x)
    if pos_weight is not None:
        tail = lm.multiply(tail, lm.add(lm.multiply(lm.subtract(as_operand(pos_weight, dtype_of(x)), 1), y), 1))
    loss = lm.add(lm.multiply(lm.subtract(1, y), x), tail)
    return cast(reduced(_weighted(loss, weight), reduction), dtype)


def _weighted(loss: Array, weight) -> Array:
    return loss if weight is None else lm.multiply(loss, as_operand(weight, dtype_of(loss)))


def kl_div(log_probabilities, target, *, log_target: bool = False, reduction: str = "mean") -> Array:
    """target * (log target - log_probabilities); `log_target` says that the target is logarithms.

    "batchmean" divides the sum by the extent of the first axis, which is the divergence of Kullback and Leibler.
    """
    x, y, dtype = pair(log_probabilities, target, "kl_div")
    if log_target:
        loss = lm.multiply(lm.exp(y), lm.subtract(y, x))
    else:
        positive = lm.greater(y, 0)
        entropy = lm.multiply(y, lm.log(lm.where(positive, y, 1)))  # 0 log 0 is 0, and so is its derivative by x
        loss = lm.subtract(lm.where(positive, entropy, 0), lm.multiply(y, x))
    if reduction == "batchmean":
        return cast(lm.divide(lm.sum(loss), x.shape[0]), dtype)
    return cast(reduced(loss, reduction), dtype)


def hinge_loss(scores, target, *, margin: float = 1.0, reduction: str = "mean") -> Array:
    """max(0, margin - target * scores), for a target of -1 and 1 (Cortes and Vapnik, 1995)."""
    x, y, dtype = pair(scores, target, "hinge_loss")
    return cast(reduced(lm.relu(lm.subtract(margin, lm.multiply(x, y))), reduction), dtype)


def soft_margin_loss(scores, target, *, reduction: str = "mean") -> Array:
    """log(1 + exp(-target * scores)), for a target of -1 and 1."""
    x, y, dtype = pair(scores, target, "soft_margin_loss")
    return cast(reduced(lm.softplus(lm.negative(lm.multiply(x, y))), reduction), dtype)


# ---- numbers ---------------------------------------------------------------------------------------------------------
def mse_loss(prediction, target, *, reduction: str = "mean") -> Array:
    """(prediction - target) squared."""
    x, y, dtype = pair(prediction, target, "mse_loss")
    return cast(reduced(lm.square(lm.subtract(x, y)), reduction), dtype)


def l1_loss(prediction, target, *, reduction: str = "mean") -> Array:
    """|prediction - target|."""
    x, y, dtype = pair(prediction, target, "l1_loss")
    return cast(reduced(lm.abs(lm.subtract(x, y)), reduction), dtype)


def huber_loss(prediction, target, *, delta: float = 1.0, reduction: str = "mean") -> Array:
    """Half the squared error up to `delta`, and a line from there on (Huber, 1964)."""
    x, y, dtype = pair(prediction, target, "huber_loss")
    return cast(reduced(_huber(lm.abs(lm.subtract(x, y)), delta), reduction), dtype)


def smooth_l1_loss(prediction, target, *, beta: float = 1.0, reduction: str = "mean") -> Array:
    """`huber_loss` with delta = `beta`, divided by it; `l1_loss` where beta is 0."""
    if beta == 0:
        return l1_loss(prediction, target, reduction=reduction)
    x, y, dtype = pair(prediction, target, "smooth_l1_loss")
    return cast(reduced(lm.divide(_huber(lm.abs(lm.subtract(x, y)), beta), beta), reduction), dtype)


def _huber(distance: Array, delta: float) -> Array:
    return lm.where(lm.less(distance, delta), lm.multiply(lm.square(distance), 0.5),
                    lm.multiply(lm.subtract(distance, 0.5 * delta), delta))


def poisson_nll_loss(prediction, target, *, log_input: bool = True, eps: float = 1e-8,
                     reduction: str = "mean") -> Array:
    """The negative log likelihood of counts under Poisson distributions (less a constant); `log_input` says that the
    prediction is the logarithm of the rate."""
    x, y, dtype = pair(prediction, target, "poisson_nll_loss")
    loss = (lm.subtract(lm.exp(x), lm.multiply(y, x)) if log_input
            else lm.subtract(x, lm.multiply(y, lm.log(lm.add(x, eps)))))
    return cast(reduced(loss, reduction), dtype)


def gaussian_nll_loss(mean, target, variance, *, eps: float = 1e-6, reduction: str = "mean") -> Array:
    """The negative log likelihood of numbers under normal distributions (less a constant); variances are at least
    `eps`."""
    x, y, dtype = pair(mean, target, "gaussian_nll_loss")
    v = lm.maximum(as_operand(variance, dtype_of(x)), eps)
    loss = lm.multiply(lm.add(lm.log(v), lm.divide(lm.square(lm.subtract(x, y)), v)), 0.5)
    return cast(reduced(loss, reduction), dtype)
