"""How are examples varied at random?  Array functions of a key and a batch, which trace, and run at once on arrays.

`x` is [batch, ...]; each example is varied on its own. `axes` are the rows and columns of images.
"""

from __future__ import annotations

import math
from typing import Callable

from ...compiler.core.dtypes import int64
from .. import random
from ..array import manipulation
from ..array.creation import arange, zeros_like
from ..array.elementwise import (abs, add, clip, divide, floor, less, less_equal, logical_and, multiply, subtract,
                                 where)
from ..array.operands import Array, as_array, as_floating, cast, dtype_of, normalize_axis
from ..array.searching import take, take_along_axis
from ..array.tracer import shape_error
from ..array.trigonometry import cos, sin

Axes = tuple[int, int]


def _planes(x: Array, axes: Axes) -> tuple[Array, Callable[[Array], Array]]:
    """x with `axes` moved to the end, and what moves them back."""
    x = as_array(x)
    places = tuple(normalize_axis(a, len(x.shape)) for a in axes)
    if len(x.shape) < 3 or len(set(places)) != 2 or 0 in places:
        raise shape_error(f"images are [batch, ...] with two more axes, not {tuple(x.shape)} with axes {axes}")
    return manipulation.moveaxis(x, places, (-2, -1)), lambda y: manipulation.moveaxis(y, (-2, -1), places)


def _each(values: Array, rank: int) -> Array:
    """One value for each example, shaped to meet arrays of `rank`."""
    return manipulation.reshape(values, (-1, *(1,) * (rank - 1)))


def flip(key, x, axis: int = -1, p: float = 0.5) -> Array:
    """Each example turned round along `axis` with probability `p`."""
    x = as_array(x)
    is_flipped = random.bernoulli(key, p, (x.shape[0],))
    return where(_each(is_flipped, len(x.shape)), manipulation.flip(x, axis=axis), x)


def crop(key, x, size: tuple[int, int], padding: int = 0, axes: Axes = (-2, -1)) -> Array:
    """A window of `size` at a random place of each example, to which `padding` zeros were added on each side."""
    images, back = _planes(x, axes)
    rank = len(images.shape)
    images = manipulation.pad(images, ((0, 0),) * (rank - 2) + ((padding, padding),) * 2) if padding else images
    for axis, extent, own in zip((rank - 2, rank - 1), size, random.split(key)):
        room = images.shape[axis] - extent
        if room < 0:
            raise shape_error(f"a crop of {tuple(size)} of images of {images.shape[-2:]}")
        start = random.randint(own, (images.shape[0],), 0, room + 1, int64)
        places = add(_each(start, rank), manipulation.reshape(arange(extent), _along(axis, rank)))
        images = take_along_axis(images, places, axis=axis)
    return back(images)


def _along(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(-1 if i == axis else 1 for i in range(rank))


def rotate(key, x, degrees: float, axes: Axes = (-2, -1)) -> Array:
    """Each example turned about its center by an angle between -degrees and degrees; bilinear, zeros outside."""
    images, back = _planes(x, axes)
    dtype = dtype_of(images)
    count, (height, width) = images.shape[0], images.shape[-2:]
    angle = random.uniform(key, (count, 1, 1), minval=-degrees * math.pi / 180, maxval=degrees * math.pi / 180)
    row = manipulation.reshape(arange(height), (1, -1, 1)) - (height - 1) / 2
    column = manipulation.reshape(arange(width), (1, 1, -1)) - (width - 1) / 2
    from_row = cos(angle) * row - sin(angle) * column + (height - 1) / 2
    from_column = sin(angle) * row + cos(angle) * column + (width - 1) / 2
    flat = as_floating(manipulation.reshape(images, (count, -1, height * width)))
    total = zeros_like(flat)
    top, left = floor(from_row), floor(from_column)
    for r in (top, top + 1):
        for c in (left, left + 1):
            is_inside = logical_and(logical_and(less_equal(0, r), less(r, height)),
                                    logical_and(less_equal(0, c), less(c, width)))
            weight = where(is_inside, (1 - abs(from_row - r)) * (1 - abs(from_column - c)), 0)
            place = cast(clip(r, 0, height - 1) * width + clip(c, 0, width - 1), int64)
            taken = take_along_axis(flat, manipulation.reshape(place, (count, 1, -1)), axis=2)
            total = total + taken * cast(manipulation.reshape(weight, (count, 1, -1)), dtype_of(flat))
    turned = manipulation.reshape(total, images.shape)
    return back(turned if dtype.is_float else cast(turned + 0.5, dtype))


def noise(key, x, deviation: float) -> Array:
    """x with normal noise of this standard deviation added."""
    x = as_floating(x)
    return add(x, multiply(random.normal(key, x.shape, dtype_of(x)), deviation))


def normalize(x, mean, deviation, axis: int = 1) -> Array:
    """(x - mean) / deviation, numbers or one for each entry of `axis` (the channels)."""
    x = as_floating(x)
    rank, dtype = len(x.shape), dtype_of(x)
    def shaped(values):
        values = as_array(values, dtype)
        return manipulation.reshape(values, _along(normalize_axis(axis, rank), rank)) if len(values.shape) else values
    return divide(subtract(x, shaped(mean)), shaped(deviation))


def cutout(key, x, size: int, axes: Axes = (-2, -1)) -> Array:
    """x with a square of zeros, up to `size` wide, about a random pixel of each example: DeVries, Taylor, "Improved
    regularization of convolutional neural networks with cutout", 2017."""
    images, back = _planes(x, axes)
    rank = len(images.shape)
    is_cut = None
    for axis, own in zip((rank - 2, rank - 1), random.split(key)):
        center = _each(random.randint(own, (images.shape[0],), 0, images.shape[axis], int64), rank)
        place = manipulation.reshape(arange(images.shape[axis]), _along(axis, rank))
        start = center - size // 2
        is_near = logical_and(less_equal(start, place), less(place, start + size))
        is_cut = is_near if is_cut is None else logical_and(is_cut, is_near)
    return back(where(is_cut, zeros_like(images), images))


def mixup(key, x, y, alpha: float = 0.2) -> tuple[Array, Array]:
    """Examples and their targets (floating, as one-hot) mixed with others of the batch by one part drawn from
    beta(alpha, alpha): Zhang and others, "mixup: Beyond empirical risk minimization", ICLR 2018."""
    x, y = as_floating(x), as_floating(y)
    part_key, order_key = random.split(key)
    part = random.beta(part_key, alpha, alpha)
    order = random.permutation(order_key, x.shape[0])
    def mixed(a):
        own = cast(part, dtype_of(a))
        return a * own + take(a, order, axis=0) * (1 - own)
    return mixed(x), mixed(y)
