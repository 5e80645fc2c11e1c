"""Which layers bring activations to a known mean and variance?  Batch, layer, group, instance and RMS normalization."""

from __future__ import annotations

from typing import Sequence

from .. import array as lm
from ..array.neural import widened
from ..array.operands import Array, as_array, cast, dtype_of, shape_text
from ..array.tracer import shape_error
from .module import Module, buffer


class _BatchNorm(Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel on axis 1 (Ioffe and Szegedy, 2015).

    In training mean and (biased) variance are the batch's, and running statistics move towards them (the variance
    unbiased) by `momentum`, or are their plain average where it is None: `nn.apply` returns the model with them.
    Otherwise the running statistics normalize; without them (`track_running_stats`) the batch's always do.
    """

    ranks: tuple[int, ...] = ()

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, *, dtype="float32"):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.training = False
        self.weight = lm.ones(num_features, dtype) if affine else None
        self.bias = lm.zeros(num_features, dtype) if affine else None
        if track_running_stats:
            self.running_mean = buffer(lm.zeros(num_features, dtype))
            self.running_var = buffer(lm.ones(num_features, dtype))
            self.num_batches_tracked = buffer(lm.zeros((), "int64"))
        self.track_running_stats = track_running_stats

    def __call__(self, x) -> Array:
        x, dtype = widened(x, self.weight)
        if len(x.shape) not in self.ranks or x.shape[1] != self.num_features:
            raise shape_error(f"{type(self).__name__}({self.num_features}) of shape {shape_text(x.shape)}: rank "
                              f"{' or '.join(map(str, self.ranks))} with {self.num_features} channels on axis 1 was "
                              f"expected")
        if not self.training and self.track_running_stats:
            mean, variance = self.running_mean, self.running_var
        else:
            axes = tuple(a for a in range(len(x.shape)) if a != 1)
            mean = lm.mean(x, axis=axes)
            centered = lm.subtract(x, lm.reshape(mean, (1, -1, *(1,) * (len(x.shape) - 2))))
            variance = lm.mean(lm.square(centered), axis=axes)
            if self.training and self.track_running_stats:
                self._track(mean, variance, x)
        return cast(lm.batch_norm(x, mean, variance, self.weight, self.bias, epsilon=self.eps), dtype)

    def _track(self, mean: Array, variance: Array, x: Array) -> None:
        count = 1
        for axis, extent in enumerate(x.shape):
            count = count * extent if axis != 1 else count
        if isinstance(count, int) and count == 1:
            raise shape_error(f"{type(self).__name__} in training of shape {shape_text(x.shape)}: one value for each "
                              f"channel has no variance", hint="make the batch larger")
        number = lm.add(self.recorded("num_batches_tracked"), 1)
        amount = (self.momentum if self.momentum is not None
                  else lm.divide(1, lm.astype(number, dtype_of(mean))))
        elements = lm.astype(as_array(count), dtype_of(mean))
        unbiased = lm.multiply(variance, lm.divide(elements, lm.subtract(elements, 1)))

        def moved(name: str, to: Array) -> Array:
            old = self.recorded(name)
            return lm.astype(lm.add(lm.multiply(old, lm.subtract(1, amount)), lm.multiply(to, amount)), dtype_of(old))
        self.record(running_mean=moved("running_mean", mean), running_var=moved("running_var", unbiased),
                    num_batches_tracked=number)


class BatchNorm1d(_BatchNorm):
    """Batch normalization of x [N, C] or [N, C, L]."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of x [N, C, H, W]."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalization of x [N, C, D, H, W]."""

    ranks = (5,)


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axes, those of `normalized_shape` (Ba and others,
    2016)."""

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True, *, dtype="float32"):
        self.normalized_shape = ((normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape))
        self.eps = eps
        self.weight = lm.ones(self.normalized_shape, dtype) if elementwise_affine else None
        self.bias = lm.zeros(self.normalized_shape, dtype) if elementwise_affine and bias else None

    def __call__(self, x) -> Array:
        axes = _last_axes(as_array(x), self.normalized_shape, "LayerNorm")
        return lm.layer_norm(x, self.weight, self.bias, axis=axes, epsilon=self.eps)


class RMSNorm(Module):
    """x / sqrt(mean of x^2 + eps) * weight over the last axes, those of `normalized_shape` (Zhang and Sennrich, 2019).

    `eps` None is the smallest difference from 1 of x's dtype, as in PyTorch.
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None,
                 elementwise_affine: bool = True, *, dtype="float32"):
        self.normalized_shape = ((normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape))
        self.eps = eps
        self.weight = lm.ones(self.normalized_shape, dtype) if elementwise_affine else None

    def __call__(self, x) -> Array:
        x = as_array(x)
        axes = _last_axes(x, self.normalized_shape, "RMSNorm")
        epsilon = float(lm.finfo(dtype_of(x)).eps) if self.eps is None else self.eps
        return lm.rms_norm(x, self.weight, axis=axes, epsilon=epsilon)


def _last_axes(x: Array, extents: tuple[int, ...], name: str) -> tuple[int, ...]:
    if tuple(x.shape[-len(extents):]) != extents:
        raise shape_error(f"{name} over {list(extents)} of shape {shape_text(x.shape)}: these extents were expected at "
                          f"the end")
    return tuple(range(-len(extents), 0))


class GroupNorm(Module):
    """x [N, C, ...] standardized over each of `num_groups` groups of channels and all axes behind them, times weight
    plus bias for each channel (Wu and He, 2018)."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, dtype="float32"):
        if num_channels % num_groups:
            raise shape_error(f"GroupNorm of {num_channels} channels in {num_groups} groups, which don't divide them")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = lm.ones(num_channels, dtype) if affine else None
        self.bias = lm.zeros(num_channels, dtype) if affine else None

    def __call__(self, x) -> Array:
        return lm.group_norm(x, self.num_groups, self.weight, self.bias, epsilon=self.eps)


class _InstanceNorm(Module):
    """x [N, C, *spatial] standardized over the spatial axes of each channel (Ulyanov and others, 2016)."""

    rank = 0

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False, *, dtype="float32"):
        self.num_features, self.eps = num_features, eps
        self.weight = lm.ones(num_features, dtype) if affine else None
        self.bias = lm.zeros(num_features, dtype) if affine else None

    def __call__(self, x) -> Array:
        x = as_array(x)
        if len(x.shape) != self.rank + 2 or x.shape[1] != self.num_features:
            raise shape_error(f"{type(self).__name__}({self.num_features}) of shape {shape_text(x.shape)}: a batch, "
                              f"{self.num_features} channels and {self.rank} spatial axes were expected")
        return lm.instance_norm(x, self.weight, self.bias, epsilon=self.eps)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalization of x [N, C, L]."""

    rank = 1


class InstanceNorm2d(_InstanceNorm):
    """Instance normalization of x [N, C, H, W]."""

    rank = 2


class InstanceNorm3d(_InstanceNorm):
    """Instance normalization of x [N, C, D, H, W]."""

    rank = 3
