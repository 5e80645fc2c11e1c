"""Do layers give what PyTorch's layers of that name give with the same weights, at once and compiled for any batch?"""

import numpy as np
import pytest

import lamina as lm
from lamina import nn

torch = pytest.importorskip("torch")
KEY = lm.random.key(7)
RNG = np.random.default_rng(8)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (2, 7, 3), (0, 3), (3,)])
def test_linear(like_torch, shape, bias):
    like_torch(nn.Linear(3, 4, bias, key=KEY), torch.nn.Linear(3, 4, bias), draw(*shape),
               batch=0 if len(shape) > 1 else None)


def test_bilinear(like_torch):
    like_torch(nn.Bilinear(3, 4, 5, key=KEY), torch.nn.Bilinear(3, 4, 5), draw(7, 3), draw(7, 4))


@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding(like_torch, padding):
    ours = nn.Embedding(11, 3, padding, key=KEY)
    assert padding is None or (ours.weight[padding] == 0).all()
    like_torch(ours, torch.nn.Embedding(11, 3, padding), RNG.integers(0, 11, (5, 4)))


CONVOLUTIONS = {
    "plain": dict(kernel_size=3), "strided": dict(kernel_size=2, stride=2, padding=1),
    "dilated": dict(kernel_size=3, dilation=2, padding=2, bias=False), "grouped": dict(kernel_size=3, groups=2),
    "same": dict(kernel_size=4, padding="same"), "valid": dict(kernel_size=3, padding="valid"),
    "reflected": dict(kernel_size=3, padding=1, padding_mode="reflect"),
    "circular": dict(kernel_size=3, padding="same", padding_mode="circular"),
    "replicated": dict(kernel_size=5, padding=2, padding_mode="replicate")}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(like_torch, name, rank):
    ours, theirs = getattr(nn, f"Conv{rank}d"), getattr(torch.nn, f"Conv{rank}d")
    options = CONVOLUTIONS[name]
    like_torch(ours(4, 6, key=KEY, **options), theirs(4, 6, **options), draw(3, 4, *(9, 7, 5)[:rank]), atol=5e-6)


def test_depthwise_convolution_of_windows_of_two_extents(like_torch):
    options = dict(kernel_size=(3, 1), stride=(1, 2), padding=(1, 0), groups=5)
    like_torch(nn.Conv2d(5, 10, key=KEY, **options), torch.nn.Conv2d(5, 10, **options), draw(1, 5, 7, 6))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("options", [
    dict(kernel_size=3), dict(kernel_size=4, stride=2, padding=1), dict(kernel_size=3, stride=3, output_padding=2),
    dict(kernel_size=2, groups=2, bias=False), dict(kernel_size=3, dilation=2, padding=1)], ids=str)
def test_transposed_convolutions(like_torch, rank, options):
    ours, theirs = getattr(nn, f"ConvTranspose{rank}d"), getattr(torch.nn, f"ConvTranspose{rank}d")
    like_torch(ours(4, 6, key=KEY, **options), theirs(4, 6, **options), draw(3, 4, *(5, 4, 3)[:rank]), atol=5e-6)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name, options", [
    ("MaxPool", dict(kernel_size=2)), ("MaxPool", dict(kernel_size=3, stride=2, padding=1)),
    ("MaxPool", dict(kernel_size=3, stride=2, ceil_mode=True)), ("MaxPool", dict(kernel_size=2, stride=1, dilation=2)),
    ("AvgPool", dict(kernel_size=2)), ("AvgPool", dict(kernel_size=3, stride=2, padding=1)),
    ("AvgPool", dict(kernel_size=3, stride=2, padding=1, count_include_pad=False)),
    ("AvgPool", dict(kernel_size=3, stride=2, ceil_mode=True)),
    ("AdaptiveAvgPool", dict(output_size=1)), ("AdaptiveAvgPool", dict(output_size=3)),
    ("AdaptiveMaxPool", dict(output_size=1)), ("AdaptiveMaxPool", dict(output_size=2))], ids=str)
def test_pooling(like_torch, rank, name, options):
    name = f"{name}{rank}d"
    like_torch(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), draw(3, 4, *(9, 6, 7)[:rank]))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_upsampling_and_pixel_shuffle(like_torch, rank):
    like_torch(nn.Upsample(3), torch.nn.Upsample(scale_factor=3), draw(2, 3, *(4, 3, 2)[:rank]))
    if rank == 2:
        like_torch(nn.PixelShuffle(2), torch.nn.PixelShuffle(2), draw(3, 8, 3, 5))


def with_statistics(layer):
    """PyTorch's layer with running statistics and weights that are not those of the beginning."""
    for value in layer.state_dict().values():
        if value.dtype.is_floating_point:
            value.copy_(torch.from_numpy(np.abs(draw(*value.shape)) + 0.5))
    return layer


@pytest.mark.parametrize("options", [{}, dict(affine=False, eps=1e-3), dict(track_running_stats=False)], ids=str)
@pytest.mark.parametrize("rank, shape", [(1, (6, 5)), (1, (3, 5, 4)), (2, (3, 5, 4, 2)), (3, (2, 5, 3, 2, 2))])
def test_batch_norm_infers_with_running_statistics(like_torch, rank, shape, options):
    theirs = with_statistics(getattr(torch.nn, f"BatchNorm{rank}d")(5, **options))
    like_torch(getattr(nn, f"BatchNorm{rank}d")(5, **options), theirs, draw(*shape), atol=5e-6)


@pytest.mark.parametrize("ours, theirs, shape", [
    (nn.LayerNorm(6), torch.nn.LayerNorm(6), (3, 4, 6)), (nn.LayerNorm((4, 6)), torch.nn.LayerNorm((4, 6)), (3, 4, 6)),
    (nn.LayerNorm(6, bias=False), torch.nn.LayerNorm(6, bias=False), (5, 6)),
    (nn.LayerNorm(6, elementwise_affine=False), torch.nn.LayerNorm(6, elementwise_affine=False), (1, 6)),
    (nn.RMSNorm(6), torch.nn.RMSNorm(6), (3, 4, 6)), (nn.RMSNorm(6, eps=1e-2), torch.nn.RMSNorm(6, eps=1e-2), (7, 6)),
    (nn.GroupNorm(3, 6), torch.nn.GroupNorm(3, 6), (2, 6, 5, 3)),
    (nn.GroupNorm(1, 6), torch.nn.GroupNorm(1, 6), (4, 6)),
    (nn.InstanceNorm1d(6), torch.nn.InstanceNorm1d(6), (2, 6, 5)),
    (nn.InstanceNorm2d(6, affine=True), torch.nn.InstanceNorm2d(6, affine=True), (2, 6, 5, 3))], ids=str)
def test_normalizations(like_torch, ours, theirs, shape):
    like_torch(ours, with_statistics(theirs), draw(*shape), atol=5e-6)


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish",
                                  "Sigmoid", "Tanh", "Softplus", "Hardtanh", "Hardswish", "Hardsigmoid", "Softsign",
                                  "LogSigmoid", "GLU", "PReLU", "Identity", "Flatten"])
def test_activations_and_other_layers_without_arguments(like_torch, name):
    like_torch(getattr(nn, name)(), getattr(torch.nn, name)(), draw(5, 4, 6))


def test_activations_with_arguments(like_torch):
    like_torch(nn.Softmax(axis=1), torch.nn.Softmax(dim=1), draw(5, 4, 6))
    like_torch(nn.LeakyReLU(0.3), torch.nn.LeakyReLU(0.3), draw(5, 4))
    like_torch(nn.GELU(approximate=True), torch.nn.GELU(approximate="tanh"), draw(5, 4))
    like_torch(nn.PReLU(4), torch.nn.PReLU(4), draw(5, 4, 6))


def test_sequential_has_the_names_of_torch(like_torch):
    ours = nn.Sequential(nn.Conv2d(1, 4, 3, key=KEY), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(36, 5, key=KEY))
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
                                 torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(36, 5))
    like_torch(ours, with_statistics(theirs), draw(3, 1, 8, 8), atol=2e-5)
    assert len(ours) == 6 and ours[-1] is ours[5] and [type(m).__name__ for m in ours[1:3]] == ["BatchNorm2d", "ReLU"]


@pytest.mark.parametrize("layer, shape, message", [
    (nn.Linear(3, 4, key=KEY), (2, 5), "the last axis has 3 features"),
    (nn.Conv2d(3, 4, 3, key=KEY), (2, 3, 8), "2 spatial axes"), (nn.Conv1d(3, 4, 3, key=KEY), (2, 4, 8), "3 channels"),
    (nn.ConvTranspose2d(3, 4, 3, key=KEY), (1, 4, 5, 5), "3 channels"), (nn.MaxPool2d(2), (2, 3, 8), "2 spatial axes"),
    (nn.BatchNorm2d(3), (2, 3), "rank 4 with 3 channels"), (nn.LayerNorm(3), (2, 5), "expected at the end"),
    (nn.PixelShuffle(2), (1, 6, 2, 2), "no multiple of 4")], ids=lambda x: type(x).__name__)
def test_a_shape_that_does_not_fit_is_named(layer, shape, message):
    with pytest.raises(lm.ShapeError, match=message):
        layer(np.zeros(shape, np.float32))
