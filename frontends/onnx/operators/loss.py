"""Losses of classification, for models that were exported with them."""

from __future__ import annotations

from ....compiler.core.dtypes import int64
from ....compiler.ops import Take, TakeAlong
from ... import array as lm
from ...array.operands import as_array, cast, dtype_of
from ...array.tracer import emit
from ..table import operator
from .reduction import mean, reduced
from .shape import broadcast_to
from .values import choice


@operator("NegativeLogLikelihoodLoss", 12)
def negative_log_likelihood(x, target, weight=None, *, ignore_index=None, reduction="mean"):
    """x [N, C, d1, ...] holds log-probabilities, target [N, d1, ...] the classes."""
    choice(reduction, ("none", "mean", "sum"), "reduction")
    target = cast(target, int64)
    inside = target if ignore_index is None else lm.where(target == ignore_index, lm.zeros_like(target), target)
    loss = -lm.squeeze(emit(TakeAlong(1), x, lm.expand_dims(inside, 1)), axis=1)
    share = None if weight is None else emit(Take(0), weight, inside)
    if ignore_index is not None:
        ones = share if share is not None else broadcast_to(as_array(1, dtype_of(x)), tuple(target.shape))
        share = lm.where(target == ignore_index, lm.zeros_like(ones), ones)
    loss = loss if share is None else loss * share
    if reduction == "none":
        return loss
    axes = tuple(range(len(loss.shape)))
    if reduction == "sum" or share is None:
        total = reduced("sum", loss, axes) if reduction == "sum" else mean(loss, axes)
    else:
        total = reduced("sum", loss, axes) / reduced("sum", share, axes)
    return lm.reshape(total, ())


@operator("SoftmaxCrossEntropyLoss", 12)
def softmax_cross_entropy(x, target, weight=None, *, ignore_index=None, reduction="mean"):
    log_probabilities = lm.log_softmax(x, axis=1)
    loss = negative_log_likelihood(log_probabilities, target, weight, ignore_index=ignore_index, reduction=reduction)
    return loss, log_probabilities
