"""Do augmentations do to each example what they say, at once and traced alike?"""

import numpy as np
import pytest

import lamina as lm

augment, random = lm.data.augment, lm.random
KEY = random.key(0)
IMAGES = np.random.default_rng(0).random((40, 3, 8, 6), dtype=np.float32)


def both(function, *arrays, atol=1e-5):
    """function(KEY, *arrays) at once, which is what the compiled one gives."""
    found = function(KEY, *arrays)
    for a, b in zip(lm.tree.leaves(found), lm.tree.leaves(lm.jit(function)(KEY, *arrays))):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5)
    return found


def test_flip():
    flipped = both(lambda key, x: augment.flip(key, x), IMAGES)
    turned = [np.array_equal(a, b[..., ::-1]) for a, b in zip(flipped, IMAGES)]
    kept = [np.array_equal(a, b) for a, b in zip(flipped, IMAGES)]
    assert all(t != k for t, k in zip(turned, kept)) and 8 < sum(turned) < 32
    np.testing.assert_array_equal(augment.flip(KEY, IMAGES, axis=2, p=1.0), IMAGES[:, :, ::-1])


@pytest.mark.parametrize("axes", [(-2, -1), (1, 2)])
def test_crop(axes):
    x = IMAGES if axes == (-2, -1) else np.moveaxis(IMAGES, 1, -1)
    for size, padding in (((5, 4), 0), ((8, 6), 2)):
        cropped = both(lambda key, x: augment.crop(key, x, size, padding, axes), x)
        images = cropped if axes == (-2, -1) else np.moveaxis(cropped, -1, 1)
        padded = np.pad(IMAGES, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        starts = set()
        for found, image in zip(images, padded):
            windows = np.lib.stride_tricks.sliding_window_view(image, size, axis=(1, 2))
            places = np.argwhere((windows == found[:, None, None]).all(axis=(0, 3, 4)))
            assert len(places) == 1
            starts.add(tuple(places[0]))
        assert len(starts) > 5
    with pytest.raises(lm.ShapeError, match="a crop of"):
        augment.crop(KEY, IMAGES, (9, 6))
    with pytest.raises(lm.ShapeError, match="images are"):
        augment.crop(KEY, IMAGES[0, 0], (2, 2))


def test_rotate():
    x = np.zeros((20, 1, 9, 9), np.float32)
    x[:, :, 4, 4], x[:, :, 4, 7] = 1, 1
    turned = both(lambda key, x: augment.rotate(key, x, 90), x)
    np.testing.assert_allclose(turned[:, 0, 4, 4], 1, atol=1e-5)  # the center stays
    rows, columns = np.indices((9, 9)) - 4
    outside = np.where(np.hypot(rows, columns) > 1, turned[:, 0], 0)
    np.testing.assert_allclose(outside.sum((1, 2)), 1, atol=0.2)
    row = (outside * rows).sum((1, 2))
    assert row.std() > 1 and np.abs(row).max() <= 3.01  # another place for each, at the same distance
    np.testing.assert_allclose(np.hypot(row, (outside * columns).sum((1, 2))), 3, atol=0.3)
    np.testing.assert_allclose(augment.rotate(KEY, IMAGES, 0), IMAGES, atol=1e-5)
    bytes_ = (IMAGES * 255).astype(np.uint8)
    np.testing.assert_array_equal(augment.rotate(KEY, bytes_, 0), bytes_)


def test_noise_and_normalize():
    noisy = both(lambda key, x: augment.noise(key, x, 0.1), IMAGES)
    assert abs((noisy - IMAGES).std() - 0.1) < 0.01
    mean, deviation = IMAGES.mean((0, 2, 3)), IMAGES.std((0, 2, 3))
    normal = augment.normalize(IMAGES, mean, deviation)
    np.testing.assert_allclose(normal.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std((0, 2, 3)), 1, atol=1e-5)
    np.testing.assert_allclose(augment.normalize(np.array([[0, 255]], np.uint8), 127.5, 127.5), [[-1, 1]])


def test_cutout():
    ones = np.ones((60, 3, 8, 6), np.float32)
    cut = both(lambda key, x: augment.cutout(key, x, 3), ones)
    holes = (cut == 0).sum((1, 2, 3)) / 3
    assert set(holes) <= {4, 6, 9} and 9 in holes
    assert (cut[:, :1] == cut).all() and len({image.tobytes() for image in cut}) > 20


def test_mixup():
    labels = np.eye(40, dtype=np.float32)
    x, y = both(lambda key, x, y: augment.mixup(key, x, y, 1.0), IMAGES, labels)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(x, np.einsum("ij,jchw->ichw", y, IMAGES), atol=1e-5)
    assert 0.01 < y[0, 0] < 1


def test_the_same_key_gives_the_same_batch_and_dtypes_stay():
    for function in (lambda k: augment.flip(k, IMAGES), lambda k: augment.crop(k, IMAGES, (5, 5), 1)):
        np.testing.assert_array_equal(function(KEY), function(KEY))
        assert not np.array_equal(function(KEY), function(random.key(1)))
    for dtype in ("uint8", "float64", "float16"):
        x = (IMAGES * 200).astype(dtype)
        for result in (augment.flip(KEY, x), augment.crop(KEY, x, (5, 5)), augment.rotate(KEY, x, 10),
                       augment.cutout(KEY, x, 2)):
            assert result.dtype == dtype
