"""Do activations, normalizations, convolutions, pooling, resize and attention agree with PyTorch, at once and
traced?"""

import math

import numpy as np
import pytest

import lamina as lm

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(6)
ACTIVATIONS = {
    "sigmoid": torch.sigmoid, "relu": F.relu, "relu6": F.relu6, "leaky_relu": F.leaky_relu, "elu": F.elu,
    "selu": F.selu, "celu": F.celu,
    "gelu": F.gelu, "silu": F.silu, "swish": F.silu, "softplus": F.softplus, "softsign": F.softsign, "mish": F.mish,
    "log_sigmoid": F.logsigmoid, "hard_sigmoid": F.hardsigmoid, "hard_swish": F.hardswish, "hard_tanh": F.hardtanh,
    "glu": F.glu,
    "softmax": lambda x: F.softmax(x, -1), "log_softmax": lambda x: F.log_softmax(x, -1)}


def draw(*shape, low=-4.0, high=4.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def torched(function, *arrays, **kwargs):
    return function(*map(torch.from_numpy, arrays), **kwargs).numpy()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_agree_with_torch(name, agree):
    for x in (draw(3, 8), draw(1, 2), draw(2, 0, 4), np.array([[-100, 100, -20, 20, 0, -0.0, 1e-8, -1e-8]],
                                                              np.float32)):
        agree(getattr(lm, name), torched(ACTIVATIONS[name], x), x, atol=1e-6)
    agree(getattr(lm, name), torched(ACTIVATIONS[name], draw(2, 4).astype(np.float64) * 0 + 0.3), np.full((2, 4), 0.3))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"glu"}))
def test_activations_of_half_precision_are_rounded_once(name, dtype):
    x = draw(5, 7).astype(getattr(lm, dtype).numpy)
    wide = getattr(lm, name)(x.astype(np.float32))
    got = getattr(lm, name)(x)
    assert got.dtype == x.dtype
    assert (got == wide.astype(x.dtype)).all()


def test_parameters_of_activations(agree):
    x = draw(3, 8)
    agree(lambda x: lm.gelu(x, approximate=True), torched(F.gelu, x, approximate="tanh"), x, atol=1e-6)
    agree(lambda x: lm.leaky_relu(x, 0.3), torched(F.leaky_relu, x, negative_slope=0.3), x)
    agree(lambda x, a: lm.leaky_relu(x, a), np.where(x >= 0, x, x * x[0]), x, x[0])
    agree(lambda x: lm.elu(x, 0.5), torched(F.elu, x, alpha=0.5), x)
    agree(lambda x: lm.celu(x, 0.5), torched(F.celu, x, alpha=0.5), x)
    agree(lambda x: lm.softmax(x, axis=0), torched(F.softmax, x, dim=0), x)
    agree(lambda x: lm.softmax(x, axis=(0, 1)), torched(F.softmax, x.ravel(), dim=0).reshape(x.shape), x)
    agree(lambda x: lm.relu(x), np.array([0, 3]), np.array([-2, 3]))


def test_softmax_of_large_and_infinite_values(agree):
    x = np.array([[1000, 1001, -np.inf], [-1000, -1000, -1000]], np.float32)
    agree(lm.softmax, torched(F.softmax, x, dim=-1), x)
    agree(lm.log_softmax, torched(F.log_softmax, x, dim=-1), x)


def test_normalizations_agree_with_torch(agree):
    x, w, b = draw(2, 6, 5, 4), draw(6), draw(6)
    agree(lambda x, w, b: lm.group_norm(x, 3, w, b), torch.group_norm(*map(torch.from_numpy, (x,)), 3, *map(torch.from_numpy, (w, b))).numpy(),
          x, w, b, atol=1e-5)
    agree(lambda x: lm.instance_norm(x), torched(F.instance_norm, x), x, atol=1e-5)
    mean, variance = draw(6), draw(6, low=0.5)
    agree(lambda x, m, v, w, b: lm.batch_norm(x, m, v, w, b), torched(F.batch_norm, x, mean, variance, w, b), x, mean,
          variance, w, b, atol=1e-5)
    last = np.moveaxis(x, 1, -1).copy()
    agree(lambda x, m, v: lm.batch_norm(x, m, v, axis=-1), np.moveaxis(torched(F.batch_norm, x, mean, variance), 1, -1),
          last, mean, variance)
    weight, bias = draw(5, 4), draw(5, 4)
    expected = F.layer_norm(torch.from_numpy(x), (5, 4), torch.from_numpy(weight), torch.from_numpy(bias)).numpy()
    agree(lambda x, w, b: lm.layer_norm(x, w, b, axis=(2, 3)), expected, x, weight, bias, atol=1e-5)
    agree(lambda x: lm.layer_norm(x), F.layer_norm(torch.from_numpy(x), (4,)).numpy(), x, atol=1e-5)
    agree(lambda x, w: lm.rms_norm(x, w, epsilon=1e-5), F.rms_norm(torch.from_numpy(x), (4,), torch.from_numpy(w[:4]),
                                                                   1e-5).numpy(), x, w[:4])
    with pytest.raises(lm.ShapeError, match=r"the weight has shape \[6\], \[4\] was expected"):
        lm.layer_norm(x, w)
    with pytest.raises(lm.ShapeError, match="do not split into 4 groups"):
        lm.group_norm(x, 4)


CONVS = [dict(), dict(stride=2), dict(padding=1), dict(stride=(2, 1), padding=(1, 2), dilation=(1, 2)), dict(groups=2),
         dict(dilation=2, padding=2)]


def renamed(options):
    return {{"stride": "strides"}.get(k, k): v for k, v in options.items()}


@pytest.mark.parametrize("options", CONVS)
def test_conv_agrees_with_torch(options, agree):
    x, b = draw(2, 4, 9, 8), draw(6)
    w = draw(6, 4 // options.get("groups", 1), 3, 2)
    expected = torched(F.conv2d, x, w, b, **options)
    agree(lambda x, w, b: lm.conv(x, w, b, **renamed(options)), expected, x, w, b, atol=1e-4)
    agree(lambda x, w, b: lm.conv(x, w, b, layout="NHWC", **renamed(options)), expected.transpose(0, 2, 3, 1),
          x.transpose(0, 2, 3, 1).copy(), w.transpose(2, 3, 1, 0).copy(), b, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 3])
def test_conv_of_other_ranks(rank, agree):
    x, w = draw(2, 3, *(6, 5, 7)[:rank]), draw(4, 3, *(2, 3, 2)[:rank])
    agree(lm.conv, torched(getattr(F, f"conv{rank}d"), x, w), x, w, atol=1e-4)
    agree(lambda x, w: lm.conv_transpose(x, w, strides=2), torched(getattr(F, f"conv_transpose{rank}d"), x,
                                                                   w.swapaxes(0, 1).copy(), stride=2),
          x, w.swapaxes(0, 1).copy(), atol=1e-4)


@pytest.mark.parametrize("stride, size", [(1, 9), (2, 9), (2, 8), (3, 7)])
def test_same_padding(stride, size, agree):
    x, w = draw(1, 2, size), draw(3, 2, 4)
    total = max((math.ceil(size / stride) - 1) * stride + 4 - size, 0)
    for padding, pairs in (("same", (total // 2, total - total // 2)),
                           ("same_lower", (total - total // 2, total // 2))):
        expected = torched(F.conv1d, np.pad(x, ((0, 0), (0, 0), pairs)), w, stride=stride)
        agree(lambda x, w: lm.conv(x, w, strides=stride, padding=padding), expected, x, w, atol=1e-4)
        assert expected.shape[-1] == math.ceil(size / stride)


@pytest.mark.parametrize("options", [dict(), dict(stride=2), dict(stride=2, padding=1),
                                     dict(stride=3, padding=2, output_padding=1),
                                     dict(groups=2, stride=2), dict(dilation=2, stride=2), dict(padding=3)])
def test_conv_transpose_agrees_with_torch(options, agree):
    x, b = draw(2, 4, 5, 6), draw(6)
    w = draw(4, 6 // options.get("groups", 1), 3, 3)
    expected = torched(F.conv_transpose2d, x, w, b, **options)
    agree(lambda x, w, b: lm.conv_transpose(x, w, b, **renamed(options)), expected, x, w, b, atol=1e-4)
    agree(lambda x, w, b: lm.conv_transpose(x, w, b, layout="NHWC", **renamed(options)), expected.transpose(0, 2, 3, 1),
          x.transpose(0, 2, 3, 1).copy(), w.transpose(2, 3, 0, 1).copy(), b, atol=1e-4)


def test_conv_transpose_with_same_padding_multiplies_the_extent(agree):
    x, w = draw(1, 2, 5), draw(2, 3, 4)
    full = torched(F.conv_transpose1d, x, w, stride=2)
    agree(lambda x, w: lm.conv_transpose(x, w, strides=2, padding="same"), full[..., 1:-1], x, w, atol=1e-4)
    assert lm.conv_transpose(x, w, strides=7, padding="same").shape == (1, 3, 35)


POOLS = [dict(kernel_size=2), dict(kernel_size=3, stride=2), dict(kernel_size=3, stride=2, padding=1),
         dict(kernel_size=(2, 3), stride=(1, 2)),
         dict(kernel_size=3, stride=2, padding=1, ceil_mode=True), dict(kernel_size=2, stride=3, ceil_mode=True)]


@pytest.mark.parametrize("options", POOLS)
def test_pooling_agrees_with_torch(options, agree):
    x = draw(2, 3, 7, 8)
    ours = {k: v for k, v in renamed(options).items() if k != "kernel_size"}
    window = options["kernel_size"]
    expected = torched(F.max_pool2d, x, **options)
    agree(lambda x: lm.max_pool(x, window, **ours), expected, x)
    agree(lambda x: lm.max_pool(x, window, layout="NHWC", **ours), expected.transpose(0, 2, 3, 1),
          x.transpose(0, 2, 3, 1).copy())
    for include in (True, False):
        agree(lambda x: lm.avg_pool(x, window, count_include_pad=include, **ours),
              torched(F.avg_pool2d, x, count_include_pad=include, **options), x, atol=1e-5)


def test_pooling_of_everything_and_with_dilation(agree):
    x = draw(2, 3, 7, 8)
    agree(lm.global_avg_pool, x.mean((2, 3), keepdims=True), x)
    agree(lambda x: lm.global_max_pool(x, keepdims=False), x.max((2, 3)), x)
    agree(lambda x: lm.global_avg_pool(x, layout="NHWC"), x.mean((1, 2), keepdims=True), x)
    agree(lambda x: lm.max_pool(x, 2, dilation=2, strides=1),
          torched(F.max_pool2d, x, kernel_size=2, stride=1, dilation=2), x)


def test_symbolic_batches_and_lengths():
    x, w = draw(3, 4, 9), draw(5, 4, 3)
    def f(x):
        return lm.conv(x, w, padding="same"), lm.avg_pool(x, 3, strides=1,
                                                          padding="same"), lm.softmax(x), lm.layer_norm(x, axis=-1)
    graph = lm.trace(f, lm.TensorSpec(("n", 4, "t=3..")))
    for got, want in zip(graph.verify().evaluate(x), f(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


# ---- attention -------------------------------------------------------------------------------------------------------
def test_attention_agrees_with_torch(agree):
    q, k, v = draw(2, 4, 5, 8), draw(2, 4, 7, 8), draw(2, 4, 7, 6)
    attend = F.scaled_dot_product_attention
    agree(lm.attention, torched(attend, q, k, v), q, k, v, atol=1e-5)
    mask = RNG.random((2, 1, 5, 7)) > 0.3
    mask[..., 0] = True
    agree(lambda q, k, v, m: lm.attention(q, k, v, m), torched(attend, q, k, v, mask), q, k, v, mask, atol=1e-5)
    bias = draw(5, 7)
    agree(lambda q, k, v, m: lm.attention(q, k, v, m, scale=0.3), torched(attend, q, k, v, bias, scale=0.3), q, k, v,
          bias, atol=1e-5)
    agree(lambda q, k, v: lm.attention(q, k, v, causal=True), torched(attend, q, k, v, is_causal=True), q, k, v,
          atol=1e-5)
    agree(lm.attention, torched(attend, q[0, 0], k[0, 0], v[0, 0]), q[0, 0].copy(), k[0, 0].copy(), v[0, 0].copy(),
          atol=1e-5)


def test_attention_with_grouped_queries(agree):
    q, k, v = draw(2, 6, 5, 8), draw(2, 3, 7, 8), draw(2, 3, 7, 8)
    attend = F.scaled_dot_product_attention
    agree(lm.attention, torched(attend, q, k, v, enable_gqa=True), q, k, v, atol=1e-5)
    for mask in (RNG.random((2, 6, 5, 7)) > 0.2, RNG.random((2, 1, 5, 7)) > 0.2, RNG.random((5, 7)) > 0.2):
        mask[..., 0] = True
        agree(lambda q, k, v, m: lm.attention(q, k, v, m), torched(attend, q, k, v, mask, enable_gqa=True), q, k, v,
              mask, atol=1e-5)
    agree(lm.attention, torched(attend, q, k[:, :1], v[:, :1], enable_gqa=True), q, k[:, :1].copy(), v[:, :1].copy(),
          atol=1e-5)
    with pytest.raises(lm.ShapeError, match="6 query heads are no multiple of 4 key heads"):
        lm.attention(q, draw(2, 4, 7, 8), draw(2, 4, 7, 8))


def test_embedding(agree):
    table, ids = draw(10, 3), RNG.integers(0, 10, (2, 5))
    agree(lm.embedding, table[ids], ids, table)


# ---- resize ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(3, 8), (12, 14), (4, 5), (6, 7), (1, 1)])
@pytest.mark.parametrize("mode, corners", [("bilinear", False), ("bilinear", True), ("bicubic", False),
                                           ("bicubic", True)])
def test_resize_agrees_with_torch(shape, mode, corners, agree):
    x = draw(2, 3, 6, 7)
    expected = F.interpolate(torch.from_numpy(x), shape, mode=mode, align_corners=corners).numpy()
    method = {"bilinear": "linear", "bicubic": "cubic"}[mode]
    agree(lambda x: lm.resize(x, (2, 3, *shape), method, coordinates="align_corners" if corners else "half_pixel"),
          expected, x, atol=1e-5)


@pytest.mark.parametrize("shape", [(12, 14), (3, 5), (9, 20)])
def test_resize_to_the_nearest_agrees_with_torch(shape, agree):
    x = draw(1, 2, 6, 7)
    expected = F.interpolate(torch.from_numpy(x), shape, mode="nearest").numpy()
    agree(lambda x: lm.resize(x, (1, 2, *shape), "nearest", coordinates="asymmetric", rounding="floor"), expected, x)
    exact = F.interpolate(torch.from_numpy(x), shape, mode="nearest-exact").numpy()
    agree(lambda x: lm.resize(x, (1, 2, *shape), "nearest", rounding="round_prefer_ceil"), exact, x)


@pytest.mark.parametrize("mode, method", [("bilinear", "linear"), ("bicubic", "cubic")])
def test_resize_against_aliasing_agrees_with_onnx(mode, method, agree):
    reference = pytest.importorskip("onnx.reference.ops.op_resize")
    x = draw(1, 1, 9, 11)
    coefficients = {"linear": reference._linear_coeffs_antialias, "cubic": reference._cubic_coeffs_antialias}[method]
    expected = reference._interpolate_nd(x, lambda n, s: coefficients(n, s, **({"A": -0.75} if method == "cubic" else {})),
                                         output_size=[1, 1, 4, 5], coordinate_transformation_mode="half_pixel",
                                         exclude_outside=True)
    agree(lambda x: lm.resize(x, (1, 1, 4, 5), method, antialias=True, exclude_outside=True),
          expected.astype(np.float32), x, atol=1e-5)


@pytest.mark.parametrize("options, message", [
    (dict(method="lanczos"), "no method 'lanczos'"), (dict(coordinates="center"), "no coordinates 'center'"),
    (dict(rounding="up"), "no rounding 'up'")])
def test_choices_of_resize_are_named(options, message):
    with pytest.raises(lm.ShapeError, match=message):
        lm.resize(draw(2, 2), (4, 4), **options)


@pytest.mark.parametrize("function, message", [
    (lambda: lm.conv(draw(1, 3, 5), draw(2, 3, 3, 3)), "ranks differ"),
    (lambda: lm.conv(draw(3, 5), draw(2, 3)), "a batch, 1 to 3 spatial axes and channels"),
    (lambda: lm.conv(draw(1, 3, 5), draw(2, 3, 3), draw(3)), r"the bias has shape \[3\], \[2\] was expected"),
    (lambda: lm.conv(draw(1, 3, 5), draw(2, 3, 3), layout="CHW"), "there is no layout 'CHW'"),
    (lambda: lm.conv(draw(1, 3, 5), draw(2, 3, 3), padding="full"), "there is no padding 'full'"),
    (lambda: lm.conv(draw(1, 3, 5), draw(2, 3, 3), strides=(1, 2)), "for 1 spatial axes"),
    (lambda: lm.max_pool(draw(1, 3, 5), 9), "has no place in 5"),
    (lambda: lm.glu(draw(3)), "halves axis 0, which has 3"),
])
def test_what_does_not_fit_is_named(function, message):
    with pytest.raises(lm.ShapeError, match=message):
        function()
