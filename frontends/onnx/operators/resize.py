"""Resizing images: axis by axis, with the source positions and weights of every output computed while importing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....compiler.core.dims import DimExpr
from ....compiler.core.dtypes import float32
from ....compiler.ops import Contract, Take
from ... import array as lm
from ...array.operands import cast, dtype_of
from ...array.tracer import emit
from ..table import Refusal, operator
from .shape import piece, tile
from .values import axis_of, choice, known, known_dims

_NEAREST = {"round_prefer_floor": lambda x: np.ceil(x - 0.5), "round_prefer_ceil": lambda x: np.floor(x + 0.5),
            "floor": np.floor, "ceil": np.ceil}
_TRANSFORMS = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
               "tf_half_pixel_for_nn",
               "tf_crop_and_resize")


@dataclass(frozen=True)
class Sampling:
    """How positions in the output map to positions in the input, and how elements there are weighted."""

    mode: str = "nearest"
    transform: str = "asymmetric"
    nearest: str = "floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0

    def __post_init__(self):
        choice(self.mode, ("nearest", "linear", "cubic"), "mode")
        choice(self.transform, _TRANSFORMS, "coordinate_transformation_mode")
        choice(self.nearest, tuple(_NEAREST), "nearest_mode")

    def positions(self, extent: int, out: int, scale: float, region: tuple[float, float]) -> np.ndarray:
        """The (fractional) position in an axis of `extent` for each of `out` outputs. Specification: ONNX Resize."""
        at, length = np.arange(out, dtype=np.float64), scale * extent
        if self.transform == "align_corners":
            return at * 0 if length == 1 else at * (extent - 1) / (length - 1)
        if self.transform == "asymmetric":
            return at / scale
        if self.transform == "tf_half_pixel_for_nn":
            return (at + 0.5) / scale
        if self.transform == "tf_crop_and_resize":
            first, last = region
            step = (last - first) * (extent - 1)
            return first * (extent - 1) + (at * 0 + step / 2 if length == 1 else at * step / (length - 1))
        if self.transform == "pytorch_half_pixel" and length == 1:
            return at * 0 - 0.5
        offset = extent / 2 * (1 - out / length) if self.transform == "half_pixel_symmetric" else 0.0
        return offset + (at + 0.5) / scale - 0.5

    def taps(self, positions: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """The offsets from floor(position) that are read, [K], and their weights, [out, K]."""
        fraction = (positions - np.floor(positions))[:, None]
        shrink = min(scale, 1.0) if self.antialias else 1.0
        reach = 1 if self.mode == "linear" else 2
        start = int(np.floor(-reach / shrink)) + 1
        offsets = np.arange(start, 2 - start)
        distance = np.abs((offsets - fraction) * shrink)
        weights = np.clip(1 - distance, 0, 1) if self.mode == "linear" else self._cubic(distance)
        return offsets, weights / weights.sum(1, keepdims=True)

    def _cubic(self, d: np.ndarray) -> np.ndarray:
        """Keys' cubic convolution kernel at the distances d."""
        a = self.cubic_a
        near = (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1
        return np.where(d <= 1, near, np.where(d < 2, a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a, 0.0))


def resample(x, axis: int, out: int, scale: float, sampling: Sampling, region=(0.0, 1.0)):
    """`x` resized along `axis` to `out` elements."""
    extent = x.shape[axis]
    if isinstance(extent, DimExpr) or isinstance(out, DimExpr):
        return _repeated(x, axis, out, scale, sampling)
    positions = sampling.positions(extent, out, scale, region)
    if sampling.mode == "nearest":
        at = np.clip(_NEAREST[sampling.nearest](positions), 0, extent - 1).astype(np.int64)
        y = take_known(x, at, axis)
    else:
        offsets, weights = sampling.taps(positions, scale)
        at = np.floor(positions).astype(np.int64)[:, None] + offsets
        if sampling.exclude_outside:
            weights = np.where((at < 0) | (at >= extent), 0.0, weights)
            weights = weights / weights.sum(1, keepdims=True)
        y = _weighted(x, np.clip(at, 0, extent - 1), weights, axis)
    if sampling.transform == "tf_crop_and_resize":
        outside = ((positions < 0) | (positions > extent - 1)).reshape([-1 if a == axis else 1
                                                                        for a in range(len(x.shape))])
        y = lm.where(outside, np.asarray(sampling.extrapolation, dtype_of(x).numpy), y) if outside.any() else y
    return y


def _repeated(x, axis: int, out, scale: float, sampling: Sampling):
    """The nearest element of a symbolic axis, where each is repeated a whole number of times."""
    times = int(scale)
    probe = np.arange(7 * times, dtype=np.float64)
    source = Sampling.positions(sampling, 7, probe.size, scale, (0.0, 1.0)) if times else probe
    nearest = np.clip(_NEAREST[sampling.nearest](source), 0, 6)
    if sampling.mode != "nearest" or times != scale or times < 1 \
            or sampling.transform in ("align_corners", "tf_crop_and_resize") or not (nearest == probe // times).all():
        raise Refusal(f"the symbolic extent {x.shape[axis]} resized to {out}", ())
    rank = len(x.shape)
    shape = (*x.shape[:axis + 1], 1, *x.shape[axis + 1:])
    wide = tile(lm.reshape(x, shape), np.array([times if i == axis + 1 else 1 for i in range(rank + 1)]))
    return lm.reshape(wide, (*x.shape[:axis], x.shape[axis] * times, *x.shape[axis + 1:]))


def take_known(x, at: np.ndarray, axis: int):
    """x's elements at known positions: as a slice or a repetition where the positions are one, else as a Take."""
    extent, count = x.shape[axis], len(at)
    steps = np.diff(at)
    if count and count % extent == 0 and (at == np.arange(count) // (count // extent)).all():
        return _repeated(x, axis, count, count // extent, Sampling())
    if count > 1 and steps[0] > 0 and (steps == steps[0]).all():
        return piece(x, axis, int(at[0]), count, int(steps[0]))
    return emit(Take(axis), x, at)


def _weighted(x, at: np.ndarray, weights: np.ndarray, axis: int):
    """The sums over k of weights[:, k] * x[at[:, k]] along `axis`: taps where they are few, else one contraction."""
    dtype = dtype_of(x)
    wide = x if dtype.is_float else cast(x, float32)
    if at.shape[1] > 4:
        matrix = np.zeros((len(at), x.shape[axis]))
        np.add.at(matrix, (np.arange(len(at))[:, None], at), weights)
        letters = "abcdefgh"[:len(x.shape)]
        out = letters.replace(letters[axis], "z")
        y = emit(Contract(f"{letters},z{letters[axis]}->{out}"), wide, matrix.astype(dtype_of(wide).numpy))
    else:
        shape = [-1 if a == axis else 1 for a in range(len(x.shape))]
        terms = [take_known(wide, at[:, k], axis) * weights[:, k].reshape(shape).astype(dtype_of(wide).numpy)
                 for k in range(at.shape[1])
                 if weights[:, k].any()]
        y = sum(terms[1:], terms[0])
    return y if dtype.is_float else cast(lm.round(y), dtype)


@operator("Resize", 11, dims=("sizes",))
def resize(x, roi=None, scales=None, sizes=None, *, antialias=0, axes=None, coordinate_transformation_mode="half_pixel",
           cubic_coeff_a=-0.75, exclude_outside=0, extrapolation_value=0.0, keep_aspect_ratio_policy="stretch",
           mode="nearest",
           nearest_mode="round_prefer_floor"):
    sampling = Sampling(mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(exclude_outside),
                        bool(antialias), extrapolation_value)
    axes = [axis_of(a, x) for a in axes] if axes is not None else list(range(len(x.shape)))
    choice(keep_aspect_ratio_policy, ("stretch", "not_larger", "not_smaller"), "keep_aspect_ratio_policy")
    if sizes is not None and not (isinstance(sizes, np.ndarray) and sizes.size == 0):
        out = list(known_dims(sizes, "sizes"))
        factors = [_ratio(n, x.shape[a]) for n, a in zip(out, axes)]
        if keep_aspect_ratio_policy != "stretch":
            factor = min(factors) if keep_aspect_ratio_policy == "not_larger" else max(factors)
            factors, out = [factor] * len(axes), [int(np.floor(factor * x.shape[a] + 0.5)) for a in axes]
    elif scales is not None:
        factors = [float(s) for s in known(scales, "scales").reshape(-1)]
        out = [_scaled(x.shape[a], s) for a, s in zip(axes, factors)]
    else:
        raise Refusal("neither scales nor sizes are given")
    region = None
    if roi is not None and sampling.transform == "tf_crop_and_resize":
        region = known(roi, "roi").reshape(2, -1)
    for i, (axis, extent, factor) in enumerate(zip(axes, out, factors)):
        bounds = (0.0, 1.0) if region is None else (float(region[0, i]), float(region[1, i]))
        if extent != x.shape[axis] or factor != 1.0 or bounds != (0.0, 1.0):
            x = resample(x, axis, extent, factor, sampling, bounds)
    return x


def _ratio(out, extent) -> float:
    if isinstance(out, int) and isinstance(extent, int):
        return out / extent
    if out == extent:
        return 1.0
    for times in range(2, 65):
        if out == extent * times:
            return float(times)
    raise Refusal(f"the symbolic extent {extent} resized to {out}")


def _scaled(extent, scale: float):
    if isinstance(extent, int):
        return int(np.floor(extent * np.float64(np.float32(scale))))
    if scale != int(scale):
        raise Refusal(f"the symbolic extent {extent} resized by {scale}")
    return extent * int(scale)


@operator("Resize", 10)
def resize_10(x, scales, *, mode="nearest"):
    return _scaled_by(x, known(scales, "scales"), mode)


@operator("Upsample", 9)
def upsample(x, scales, *, mode="nearest"):
    return _scaled_by(x, known(scales, "scales"), mode)


@operator("Upsample", 7)
def upsample_7(x, *, scales, mode="nearest"):
    return _scaled_by(x, np.array(scales), mode)


@operator("Upsample", 1)
def upsample_1(x, *, height_scale, width_scale, mode="nearest"):
    return _scaled_by(x, np.array([1.0, 1.0, height_scale, width_scale]), mode)


def _scaled_by(x, scales: np.ndarray, mode: str):
    sampling = Sampling("linear" if mode in ("linear", "bilinear") else mode)
    for axis, factor in enumerate(map(float, scales)):
        if factor != 1.0:
            x = resample(x, axis, _scaled(x.shape[axis], factor), factor, sampling)
    return x


