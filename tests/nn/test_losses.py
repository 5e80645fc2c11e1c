"""Are losses PyTorch's, for every reduction, at once and traced?"""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(3)
REDUCTIONS = ["mean", "sum", "none"]


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def agree(ours, theirs, *arrays, atol=2e-6, **kwargs):
    """ours(*arrays) is theirs(*arrays): at once, and its graph."""
    expected = theirs(*map(torch.from_numpy, arrays), **kwargs).numpy()
    graph = lm.trace(lambda *xs: ours(*xs, **kwargs), *arrays)
    for got in (ours(*arrays, **kwargs), graph.verify().evaluate(*arrays)[0]):
        assert got.shape == expected.shape and got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=atol)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(5, 4), (3, 7, 2, 3), (1, 1), (4,)])
def test_cross_entropy_of_classes(shape, smoothing, reduction):
    x, rest = draw(*shape) * 4, shape[:1] + shape[2:] if len(shape) > 1 else ()
    classes = shape[1] if len(shape) > 1 else shape[0]
    target = np.array(RNG.integers(0, classes, rest))
    agree(nn.cross_entropy, F.cross_entropy, x, target, reduction=reduction, label_smoothing=smoothing)
    if len(shape) > 1 and classes > 1:
        target.reshape(-1)[::2] = -100
        agree(nn.cross_entropy, F.cross_entropy, x, target, reduction=reduction, label_smoothing=smoothing)
        target[target == -100] = 1
        agree(nn.cross_entropy, F.cross_entropy, x, target, reduction=reduction, ignore_index=1)
        weight = np.abs(draw(classes))
        agree(lambda x, t, w: nn.cross_entropy(x, t, weight=w, label_smoothing=smoothing, reduction=reduction),
              lambda x, t, w: F.cross_entropy(x, t, weight=w, label_smoothing=smoothing, reduction=reduction),
              x, target, weight)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_distributions(smoothing, reduction):
    x, weight = draw(5, 4, 3), np.abs(draw(4))
    target = lm.softmax(draw(5, 4, 3), axis=1)
    agree(lambda x, t, w: nn.cross_entropy(x, t, weight=w, label_smoothing=smoothing, reduction=reduction),
          lambda x, t, w: F.cross_entropy(x, t, weight=w, label_smoothing=smoothing, reduction=reduction),
          x, target, weight)
    agree(nn.cross_entropy, F.cross_entropy, x, target, reduction=reduction, label_smoothing=smoothing)


def test_cross_entropy_with_classes_on_the_last_axis_and_of_large_logits():
    x, target = draw(2, 5, 7), RNG.integers(0, 7, (2, 5))
    assert nn.cross_entropy(x, target, axis=-1) == nn.cross_entropy(np.swapaxes(x, 1, 2).copy(), target)
    assert nn.cross_entropy(np.array([[1e4, -1e4]], np.float32), np.array([1])) == 2e4
    with pytest.raises(lm.ShapeError, match="axis=-1"):
        nn.cross_entropy(x, target)


def test_a_class_that_is_not_there_gives_nan_and_all_ignored_gives_nan_as_in_torch():
    x = draw(3, 4)
    assert np.isnan(nn.cross_entropy(x, np.array([0, 4, 1])))
    assert np.isnan(nn.cross_entropy(x, np.array([0, -1, 1])))
    assert np.isnan(nn.cross_entropy(x, np.full(3, -100)))
    assert nn.cross_entropy(x, np.full(3, -100), reduction="sum") == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll_loss(reduction):
    x, target = lm.log_softmax(draw(6, 5)), RNG.integers(0, 5, 6)
    agree(nn.nll_loss, F.nll_loss, x, target, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_losses(reduction):
    x, y, weight = draw(5, 3) * 5, (draw(5, 3) > 0).astype(np.float32), np.abs(draw(3))
    agree(nn.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, x, y, reduction=reduction)
    agree(lambda x, y, w: nn.binary_cross_entropy_with_logits(x, y, weight=w, pos_weight=w, reduction=reduction),
          lambda x, y, w: F.binary_cross_entropy_with_logits(x, y, weight=w, pos_weight=w, reduction=reduction),
          x, y, weight)
    p = np.array([[0.0, 1.0, 0.3], [1.0, 0.0, 0.9]], np.float32)
    agree(nn.binary_cross_entropy, F.binary_cross_entropy, p, y[:2], reduction=reduction)
    huge = np.array([1e4, -1e4, 0], np.float32)
    agree(nn.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, huge, np.float32([0, 1, 1]))
    signs = np.where(y > 0, 1, -1).astype(np.float32)
    agree(nn.soft_margin_loss, F.soft_margin_loss, x, signs, reduction=reduction)
    expected = np.maximum(0, 1 - x * signs)
    got = nn.hinge_loss(x, signs, reduction=reduction)
    np.testing.assert_allclose(got, {"mean": expected.mean(), "sum": expected.sum(), "none": expected}[reduction],
                               rtol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_numbers(reduction):
    x, y = draw(4, 5) * 2, draw(4, 5)
    for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "poisson_nll_loss"):
        agree(getattr(nn, name), getattr(F, name), x, y, reduction=reduction)
    agree(nn.huber_loss, F.huber_loss, x, y, reduction=reduction, delta=0.3)
    agree(nn.smooth_l1_loss, F.smooth_l1_loss, x, y, reduction=reduction, beta=0.3)
    agree(nn.smooth_l1_loss, F.smooth_l1_loss, x, y, reduction=reduction, beta=0.0)
    agree(nn.poisson_nll_loss, F.poisson_nll_loss, np.abs(x), y, log_input=False, reduction=reduction)
    agree(nn.gaussian_nll_loss, F.gaussian_nll_loss, x, y, np.abs(draw(4, 5)), reduction=reduction)


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
def test_kl_divergence(reduction):
    x, y = lm.log_softmax(draw(4, 5)), lm.softmax(draw(4, 5))
    y[0, 0] = 0
    agree(nn.kl_div, F.kl_div, x, y, reduction=reduction)
    agree(nn.kl_div, F.kl_div, x, lm.log_softmax(draw(4, 5)), log_target=True, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_vectors(reduction):
    x, y, z = draw(5, 4), draw(5, 4), draw(5, 4)
    sign = np.array([1, -1, -1, 1, -1], np.float32)
    agree(nn.cosine_embedding_loss, F.cosine_embedding_loss, x, y, sign, reduction=reduction, margin=0.1, atol=1e-5)
    agree(nn.hinge_embedding_loss, F.hinge_embedding_loss, np.abs(x[:, 0]), sign, reduction=reduction)
    agree(nn.margin_ranking_loss, F.margin_ranking_loss, x[:, 0].copy(), y[:, 0].copy(), sign, margin=0.2,
          reduction=reduction)
    agree(nn.triplet_margin_loss, F.triplet_margin_loss, x, y, z, reduction=reduction)
    agree(nn.triplet_margin_loss, F.triplet_margin_loss, x, y, z, p=1.0, margin=0.5, reduction=reduction)


def test_similarities():
    x, y = draw(5, 4), draw(5, 4)
    agree(nn.cosine_similarity, F.cosine_similarity, x, y)
    agree(lambda x, y: nn.cosine_similarity(x, y, axis=0), lambda x, y: F.cosine_similarity(x, y, dim=0), x, y)
    assert nn.cosine_similarity(np.zeros(3, np.float32), np.ones(3, np.float32)) == 0
    agree(nn.pairwise_distance, F.pairwise_distance, x, y)


def test_contrastive_loss_is_cross_entropy_in_both_directions():
    x, y = draw(6, 8), draw(6, 8)

    def theirs(x, y):
        scores = F.normalize(x) @ F.normalize(y).T / 0.2
        return (F.cross_entropy(scores, torch.arange(6)) + F.cross_entropy(scores.T, torch.arange(6))) / 2
    agree(lambda x, y: nn.contrastive_loss(x, y, temperature=0.2), theirs, x, y, atol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("blank", [0, 3])
def test_ctc(reduction, blank):
    x = lm.log_softmax(draw(12, 4, 6))
    targets = RNG.integers(0, 5, (4, 5))
    targets = np.where(targets >= blank, targets + 1, targets)
    targets[1, :] = targets[1, 0]  # repeated labels, which need a blank between them
    inputs, lengths = np.array([12, 9, 5, 1]), np.array([5, 4, 3, 0])
    agree(nn.ctc_loss, F.ctc_loss, x, targets, inputs, lengths, blank=blank, reduction=reduction, atol=1e-5)


def test_ctc_of_what_does_not_fit():
    x, targets = lm.log_softmax(draw(3, 2, 4)), np.array([[1, 1, 1], [1, 2, 3]])
    inputs, lengths = np.array([3, 3]), np.array([3, 3])
    assert np.isinf(nn.ctc_loss(x, targets, inputs, lengths, reduction="none")).tolist() == [True, False]
    agree(nn.ctc_loss, F.ctc_loss, x, targets, inputs, lengths, reduction="none", zero_infinity=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_losses_of_half_precision_are_rounded_once(dtype):
    x, target = draw(8, 5), RNG.integers(0, 5, 8)
    got = nn.cross_entropy(lm.astype(x, dtype), target)
    wide = nn.cross_entropy(lm.astype(lm.astype(x, dtype), "float32"), target)
    assert got.dtype == getattr(lm, dtype).numpy and got == lm.astype(wide, dtype)


def test_what_does_not_fit_is_named():
    with pytest.raises(lm.ShapeError, match="hides mistakes"):
        nn.mse_loss(draw(4, 1), draw(4))
    with pytest.raises(lm.TraceError, match="no reduction 'average'"):
        nn.mse_loss(draw(4), draw(4), reduction="average")
    with pytest.raises(lm.ShapeError, match="T, N, C"):
        nn.ctc_loss(draw(4, 3), np.zeros((3, 2), int), np.zeros(3, int), np.zeros(3, int))
