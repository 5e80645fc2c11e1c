"""How is a sequence of labels scored without knowing where each one lies?  The CTC loss.

Graves and others, "Connectionist temporal classification", ICML 2006: the sum over all alignments by the forward
recursion over the label sequence with blanks between labels, in logarithms.
"""

from __future__ import annotations

from .. import array as lm
from ..array.linear_algebra import ramp
from ..array.neural import widened
from ..array.operands import Array, as_array, cast, dtype_of, shape_text
from ..array.tracer import shape_error
from .losses import reduced

IMPOSSIBLE = -1e30  # a logarithm of 0 that can be subtracted from itself


def ctc_loss(log_probabilities, targets, input_lengths, target_lengths, *, blank: int = 0, reduction: str = "mean",
             zero_infinity: bool = False) -> Array:
    """-log of the probability that the alignments of `targets` have together.

    log_probabilities [T, N, C] (of log_softmax), targets integers [N, S], padded; both lengths integers [N]. A target
    that does not fit into its input gives inf, or 0 where `zero_infinity`. The mean is of losses that are each divided
    by their target's length (at least 1).
    """
    x, dtype = widened(log_probabilities)
    targets, input_lengths, target_lengths = (lm.astype(as_array(a), "int64")
                                              for a in (targets, input_lengths, target_lengths))
    if len(x.shape) != 3 or len(targets.shape) != 2 or targets.shape[0] != x.shape[1]:
        raise shape_error(f"ctc_loss of log probabilities {shape_text(x.shape)} and targets "
                          f"{shape_text(targets.shape)}: [T, N, C] and [N, S] were expected")
    steps = x.shape[0]
    labels = _with_blanks(targets, blank)  # [N, 2 S + 1]
    scores = lm.take_along_axis(x, lm.broadcast_to(labels[None], (steps, *labels.shape)), axis=2)
    width = labels.shape[1]
    place = lm.reshape(ramp((1, width), 1, x), (1, width))
    before = _shifted(labels, 2, blank)
    may_skip = lm.logical_and(lm.not_equal(labels, blank), lm.not_equal(labels, before))
    start = lm.where(lm.less(place, 2), scores[0], IMPOSSIBLE)

    def step(alpha, at):
        score, t = at
        ways = alpha, _shifted(alpha, 1, IMPOSSIBLE), lm.where(may_skip, _shifted(alpha, 2, IMPOSSIBLE), IMPOSSIBLE)
        total = lm.logsumexp(lm.stack(ways), axis=0)
        new = lm.maximum(lm.add(total, score), IMPOSSIBLE)
        return lm.where(lm.less(t, input_lengths)[:, None], new, alpha), None

    alpha, _ = lm.scan(step, start, (scores[1:], lm.arange(1, steps)))
    last = lm.expand_dims(lm.multiply(target_lengths, 2), 1)
    ends = lm.logical_or(lm.equal(place, last), lm.equal(place, lm.subtract(last, 1)))
    loss = lm.negative(lm.logsumexp(lm.where(ends, alpha, IMPOSSIBLE), axis=1))
    fits = lm.less(loss, -IMPOSSIBLE / 2)
    loss = lm.where(fits, loss, 0.0 if zero_infinity else float("inf"))
    if reduction == "mean":
        loss = lm.divide(loss, lm.astype(lm.maximum(target_lengths, 1), dtype_of(x)))
    return cast(reduced(loss, reduction), dtype)


def _with_blanks(targets: Array, blank: int) -> Array:
    """A blank before, between and behind the labels: [N, S] as [N, 2 S + 1]."""
    batch, count = targets.shape
    blanks = lm.full((batch, count, 1), blank, "int64")
    pairs = lm.reshape(lm.concat([blanks, targets[:, :, None]], axis=2), (batch, 2 * count))
    return lm.concat([pairs, lm.full((batch, 1), blank, "int64")], axis=1)


def _shifted(x: Array, places: int, fill) -> Array:
    """x [N, L] moved to the right, `fill` in front."""
    return lm.pad(x, ((0, 0), (places, 0)), constant_values=fill)[:, :x.shape[1]]
