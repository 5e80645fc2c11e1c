"""How good is a model?  Metrics as sums over batches, so that batches of any size give what one of all rows gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping

import numpy as np

from ...compiler.core.dtypes import float32, int64
from .. import tree
from ..array.creation import arange
from ..array.elementwise import abs, equal, logical_and, not_equal, square, subtract, where
from ..array.manipulation import expand_dims, reshape
from ..array.neural import log_softmax
from ..array.operands import as_array, as_floating, cast, dtype_of
from ..array.reduction import any, sum
from ..array.searching import argmax, take_along_axis, topk
from ..array.tracer import shape_error
from ..jit import jit


class Metric:
    """A number that is found from sums: `sums` of each batch (a tree of arrays; it traces) are added up, `result` of
    them is the metric."""

    def sums(self, predictions, targets) -> Any:
        raise NotImplementedError

    def result(self, sums) -> Any:
        raise NotImplementedError

    def __call__(self, predictions, targets):
        """The metric of one batch."""
        return self.result(tree.map(_added, self.sums(predictions, targets)))


class _Ratio(Metric):
    """A sum over a count: NaN of nothing."""

    def result(self, sums):
        total, count = sums
        return float(total) / float(count) if count else math.nan


def _added(x) -> np.ndarray:
    """A batch's sum in a dtype that adding many batches up keeps exact enough."""
    x = np.asarray(x)
    return x.astype(np.int64 if x.dtype.kind in "biu" else np.float64)


def classes_of(predictions, targets):
    """Predicted classes: of logits [.., classes] the largest, of integers themselves."""
    predictions = as_array(predictions)
    if dtype_of(predictions).is_float and len(predictions.shape) == len(as_array(targets).shape) + 1:
        return argmax(predictions, axis=-1)
    return predictions


def _count(x):
    return sum(cast(x, int64))


@dataclass(frozen=True)
class Accuracy(_Ratio):
    """The part of targets (classes) that are among the `top` largest of the logits [.., classes], or equal predicted
    classes. Targets that are `ignored` don't count."""

    top: int = 1
    ignored: int = -100

    def sums(self, predictions, targets):
        targets = as_array(targets)
        if self.top == 1:
            is_right = equal(classes_of(predictions, targets), targets)
        else:
            is_right = any(equal(topk(predictions, self.top)[1], expand_dims(targets, -1)), axis=-1)
        counts = not_equal(cast(targets, int64), self.ignored)  # files have labels of uint8
        return _count(logical_and(is_right, counts)), _count(counts)


@dataclass(frozen=True)
class ConfusionMatrix(Metric):
    """How often targets of class i (rows) were taken for class j (columns): int64[classes, classes]."""

    classes: int

    def sums(self, predictions, targets):
        found, targets = reshape(classes_of(predictions, targets), (-1,)), reshape(as_array(targets), (-1,))
        if found.shape != targets.shape:
            raise shape_error(f"{found.shape} predictions of {targets.shape} targets")
        which = arange(self.classes)
        is_target = cast(equal(expand_dims(targets, -1), which), float32)
        is_found = cast(equal(expand_dims(found, -1), which), float32)
        return cast(is_target.T @ is_found, int64)  # exact: a batch has fewer rows than 2^24

    def result(self, sums):
        return np.asarray(sums)


@dataclass(frozen=True)
class _OfMatrix(ConfusionMatrix):
    """What is found from the confusion matrix, 0 where it would be 0 / 0: of each class (average None), their mean
    ("macro"), of all rows together ("micro"), or of class 1 of two ("binary")."""

    average: str | None = "macro"

    def __post_init__(self):
        if self.average not in (None, "macro", "micro", "binary") or self.average == "binary" and self.classes != 2:
            raise ValueError(f"{type(self).__name__} of {self.classes} classes has no average {self.average!r}")

    def result(self, sums):
        matrix = np.asarray(sums, np.float64)
        right, found, targets = np.diag(matrix), matrix.sum(0), matrix.sum(1)
        if self.average == "micro":
            right, found, targets = (np.sum(x, keepdims=True) for x in (right, found, targets))
        each = self.of_class(right, found, targets)
        if self.average is None:
            return each
        return float(each[1] if self.average == "binary" else each.mean())

    def of_class(self, right, found, targets) -> np.ndarray:
        raise NotImplementedError


def _quotient(x, y) -> np.ndarray:
    return np.divide(x, y, out=np.zeros_like(x), where=y != 0)


class Precision(_OfMatrix):
    """Of the rows taken for a class, the part that are of it."""

    def of_class(self, right, found, targets):
        return _quotient(right, found)


class Recall(_OfMatrix):
    """Of the rows of a class, the part taken for it."""

    def of_class(self, right, found, targets):
        return _quotient(right, targets)


class F1(_OfMatrix):
    """The harmonic mean of precision and recall."""

    def of_class(self, right, found, targets):
        return _quotient(2 * right, found + targets)


@dataclass(frozen=True)
class Perplexity(_Ratio):
    """exp of the mean negative log-likelihood that logits [.., classes] give the targets, without `ignored` ones."""

    ignored: int = -100

    def sums(self, predictions, targets):
        targets = as_array(targets)
        counts = not_equal(cast(targets, int64), self.ignored)  # files have labels of uint8
        places = expand_dims(where(counts, targets, 0), -1)
        likelihood = take_along_axis(log_softmax(as_floating(predictions), axis=-1), places, axis=-1)
        return -sum(where(counts, reshape(likelihood, targets.shape), 0.0)), _count(counts)

    def result(self, sums):
        return math.exp(min(super().result(sums), 709.0))


@dataclass(frozen=True)
class Mean(_Ratio):
    """The mean over rows of function(predictions, targets): values [rows, ...], or their mean over the batch."""

    function: Callable[[Any, Any], Any]

    def sums(self, predictions, targets):
        values = as_array(self.function(predictions, targets))
        if values.shape:
            return sum(values), math.prod(values.shape)
        rows = as_array(targets).shape[0]
        return values * rows, rows


class MeanSquaredError(_Ratio):
    """The mean square of predictions minus targets."""

    def sums(self, predictions, targets):
        error = square(subtract(predictions, targets))
        return sum(error), math.prod(error.shape)


class MeanAbsoluteError(_Ratio):
    """The mean distance of predictions from targets."""

    def sums(self, predictions, targets):
        error = abs(subtract(predictions, targets))
        return sum(error), math.prod(error.shape)


class Evaluation:
    """Metrics of a model over batches: `Evaluation(predict, batches, {"accuracy": Accuracy()})(model)` is a dict.

    `predict(model, batch)` gives (predictions, targets); it is compiled together with the metrics' sums.
    """

    def __init__(self, predict: Callable[[Any, Any], tuple], batches: Iterable, metrics: Mapping[str, Metric]):
        self.batches, self.metrics = batches, dict(metrics)

        def sums(model, batch):
            predictions, targets = predict(model, batch)
            return {name: metric.sums(predictions, targets) for name, metric in self.metrics.items()}
        self._sums = jit(sums)

    def __call__(self, model) -> dict[str, Any]:
        """Each metric over one pass through the batches; LaminaError where there are none."""
        total = None
        for batch in self.batches:
            found = tree.map(_added, self._sums(model, batch))
            total = found if total is None else tree.map(np.add, total, found)
        if total is None:
            raise shape_error("there are no batches to evaluate on")
        return {name: metric.result(total[name]) for name, metric in self.metrics.items()}
