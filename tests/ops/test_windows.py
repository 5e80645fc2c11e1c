"""Do convolutions and pools express what the frameworks have beside them: transposed convolution, average pools?"""

import numpy as np
import pytest

from lamina.compiler.ops import Conv, Pool


@pytest.mark.parametrize("stride, pad, dilation, extra, groups",
                         [(1, 0, 1, 0, 1), (2, 1, 1, 1, 1), (3, 2, 2, 1, 1), (2, 0, 1, 0, 2)])
def test_transposed_convolution_is_a_convolution_with_input_dilation(stride, pad, dilation, extra, groups):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(4, 6 // groups, 3, 3))  # [N, C, H, W], [C, O / groups, h, w]
    expected = torch.nn.functional.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(w), None, stride, pad, extra,
                                                    groups, dilation).numpy()
    reach = 2 * dilation
    flipped = w[:, :, ::-1, ::-1].reshape(groups, 4 // groups, 6 // groups, 3, 3).transpose(3, 4, 1, 0, 2)
    flipped = flipped.reshape(3, 3, 4 // groups, 6)
    op = Conv((1, 1), ((reach - pad, reach - pad + extra),) * 2, (dilation, dilation), groups, (stride, stride))
    (got,) = op.evaluate(x.transpose(0, 2, 3, 1), flipped)
    np.testing.assert_allclose(got.transpose(0, 3, 1, 2), expected, rtol=1e-10, atol=1e-12)


def test_average_pooling_is_a_sum_over_a_count():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 3))
    op = Pool("sum", (3, 2), (2, 2), ((1, 1), (1, 1)), (1, 1))
    total, count = op.evaluate(x)[0], op.evaluate(np.ones_like(x))[0]
    images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    for counted, divisor in ((False, count), (True, 6)):
        expected = torch.nn.functional.avg_pool2d(images, (3, 2), (2, 2), (1, 1), count_include_pad=counted).numpy()
        np.testing.assert_allclose((total / divisor).transpose(0, 3, 1, 2), expected, rtol=1e-12)


def test_flops_count_multiplications_and_additions():
    from .samples import types_of
    x, w = np.zeros((2, 8, 8, 16), np.float32), np.zeros((3, 3, 4, 32), np.float32)
    assert Conv((1, 1), ((1, 1), (1, 1)), (1, 1), 4).flops(*types_of((x, w))) == 2 * (2 * 8 * 8 * 32) * (3 * 3 * 4)
    assert Pool("sum", (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)).flops(*types_of((x,))) == 2 * 4 * 4 * 16 * 4
