"""Are metrics those of scikit-learn, however the rows are cut into batches?"""

import math

import numpy as np
import pytest

import lamina as lm

train = lm.train
RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((101, 4)).astype(np.float32)
TARGETS = np.where(RNG.random(101) < 0.5, LOGITS.argmax(1), RNG.integers(0, 4, 101))


def over_batches(metric, predictions, targets, size=7):
    source = {"predictions": predictions, "targets": targets}
    evaluation = train.Evaluation(lambda model, b: (b["predictions"] * model, b["targets"]),
                                  lm.data.Batches(source, size), {"it": metric})
    return evaluation(np.asarray(1, predictions.dtype))["it"]


@pytest.mark.parametrize("average", ["macro", "micro", None])
@pytest.mark.parametrize("name", ["Precision", "Recall", "F1"])
def test_metrics_of_classes_are_those_of_scikit_learn(name, average):
    metrics = pytest.importorskip("sklearn.metrics")
    reference = getattr(metrics, {"F1": "f1_score"}.get(name, f"{name.lower()}_score"))
    expected = reference(TARGETS, LOGITS.argmax(1), average=average, labels=range(5), zero_division=0)
    metric = getattr(train, name)(5, average)  # the fifth class does not occur
    wide = np.concatenate([LOGITS, np.full((101, 1), -9, np.float32)], axis=1)
    for found in (metric(wide, TARGETS), over_batches(metric, wide, TARGETS), metric(LOGITS.argmax(1), TARGETS)):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_binary_metrics():
    found, targets = np.array([1, 1, 0, 1]), np.array([1, 0, 1, 1])
    assert train.Precision(2, "binary")(found, targets) == pytest.approx(2 / 3)
    assert train.Recall(2, "binary")(found, targets) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no average 'binary'"):
        train.F1(3, "binary")


def test_confusion_matrix_and_accuracy():
    metrics = pytest.importorskip("sklearn.metrics")
    matrix = over_batches(train.ConfusionMatrix(4), LOGITS, TARGETS)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(TARGETS, LOGITS.argmax(1)))
    assert over_batches(train.Accuracy(), LOGITS, TARGETS) == (LOGITS.argmax(1) == TARGETS).mean()
    top = over_batches(train.Accuracy(top=2), LOGITS, TARGETS)
    assert top == metrics.top_k_accuracy_score(TARGETS, LOGITS, k=2)
    ignored = np.where(np.arange(101) < 50, -100, TARGETS)
    assert train.Accuracy()(LOGITS, ignored) == train.Accuracy()(LOGITS[50:], TARGETS[50:])
    assert math.isnan(train.Accuracy()(LOGITS[:0], TARGETS[:0]))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32])
def test_targets_have_any_integer_dtype(dtype):
    """Files of MNIST and CIFAR hold uint8, which can't be the number that is ignored."""
    for metric in (train.Accuracy(), train.Accuracy(top=2), train.Perplexity(), train.F1(4), train.ConfusionMatrix(4)):
        np.testing.assert_array_equal(metric(LOGITS, TARGETS.astype(dtype)), metric(LOGITS, TARGETS))


def test_perplexity():
    p = np.exp(LOGITS.astype(np.float64))
    likelihood = np.log(p / p.sum(1, keepdims=True))[np.arange(101), TARGETS]
    expected = math.exp(-likelihood.mean())
    assert over_batches(train.Perplexity(), LOGITS, TARGETS) == pytest.approx(expected, rel=1e-5)
    every_other = np.where(np.arange(100) % 2, TARGETS[:100], -100).reshape(5, 20)
    sequences = train.Perplexity()(LOGITS[:100].reshape(5, 20, 4), every_other)
    assert sequences == pytest.approx(math.exp(-likelihood[1:100:2].mean()), rel=1e-5)


def test_errors_and_means():
    x, y = LOGITS, LOGITS[:, ::-1].copy()
    assert over_batches(train.MeanSquaredError(), x, y) == pytest.approx(((x - y) ** 2).mean(), rel=1e-5)
    assert over_batches(train.MeanAbsoluteError(), x, y) == pytest.approx(np.abs(x - y).mean(), rel=1e-5)
    for function in (lambda p, t: lm.mean(p * t), lambda p, t: p * t):
        assert over_batches(train.Mean(function), x, y) == pytest.approx((x * y).mean(), rel=1e-4)


def test_many_batches_add_up_exactly():
    class Ones(train.Mean):
        pass
    found = over_batches(Ones(lambda p, t: p), np.full(30000, 1.0, np.float32), np.zeros(30000), size=100)
    assert found == 1.0
    with pytest.raises(lm.ShapeError, match="no batches to evaluate on"):
        train.Evaluation(lambda model, b: (b, b), [], {"it": train.MeanSquaredError()})(1)
