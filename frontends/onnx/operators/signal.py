"""Signal processing: windows, Fourier transforms as products with a matrix that is known while importing."""

from __future__ import annotations

import numpy as np

from ....compiler.ops import Contract
from ... import array as lm
from ...array.operands import dtype_of
from ...array.tracer import emit
from ..model import dtype_of_code
from ..table import Refusal, operator
from .shape import padded, piece, reshape_to
from .values import axis_of, known


def _window(name: str, *coefficients: float) -> None:
    @operator(name, 17)
    def window(size, *, output_datatype=1, periodic=1):
        """A sum of cosines over `size` samples."""
        count = int(known(size, "the size").reshape(()))
        angle = 2 * np.pi * np.arange(count) / (count if periodic else max(count - 1, 1))
        values = sum(c * (-1) ** k * np.cos(k * angle) for k, c in enumerate(coefficients))
        return np.asarray(values).astype(dtype_of_code(output_datatype).numpy)


_window("HannWindow", 0.5, 0.5)
_window("HammingWindow", 25 / 46, 21 / 46)
_window("BlackmanWindow", 0.42, 0.5, 0.08)


@operator("MelWeightMatrix", 17)
def mel_weight_matrix(bins, length, rate, low, high, *, output_datatype=1):
    """[length // 2 + 1, bins]: triangles between points evenly spaced in mel(f) = 2595 log10(1 + f / 700)."""
    bins, length, rate, low, high = (known(v, "the filter bank").reshape(()).item()
                                     for v in (bins, length, rate, low, high))
    first, last = (2595 * np.log10(1 + f / 700) for f in (low, high))
    mel = np.arange(bins + 2) * ((last - first) / (bins + 2)) + first
    edges = (700 * (10 ** (mel / 2595) - 1) * (length + 1) // rate).astype(np.int64)
    weights = np.zeros((length // 2 + 1, bins))
    for i, (first, center, last) in enumerate(zip(edges, edges[1:], edges[2:])):
        if first == center:
            weights[center, i] = 1
        else:
            weights[first:center + 1, i] = (np.arange(first, center + 1) - first) / (center - first)
        if last > center:
            weights[center:last, i] = (last - np.arange(center, last)) / (last - center)
    return weights.astype(dtype_of_code(output_datatype).numpy)


@operator("DFT", 20)
def dft(x, length=None, axis=None, *, inverse=0, onesided=0):
    """x [..., n, ..., 1 or 2] (real, or real and imaginary parts) transformed along `axis` (-2 by default)."""
    at = axis_of(-2 if axis is None else int(known(axis, "axis").reshape(())), x)
    if length is not None:
        count = int(known(length, "dft_length").reshape(()))
    else:
        count = 2 * (x.shape[at] - 1) if inverse and onesided else x.shape[at]
    return _transformed(x, at, count, bool(inverse), bool(onesided))


@operator("DFT", 17)
def dft_17(x, length=None, *, axis=1, inverse=0, onesided=0):
    return dft(x, length, np.asarray(axis), inverse=inverse, onesided=onesided)


def _transformed(x, axis: int, count, inverse: bool, onesided: bool):
    if not isinstance(count, int) or not isinstance(x.shape[axis], int):
        raise Refusal("a Fourier transform along an axis of symbolic extent")
    if inverse and onesided:
        return _inverse_of_half(x, axis, count)
    x = _resized(x, axis, count)
    bins = np.arange(count // 2 + 1 if onesided else count)
    angle = (2 if inverse else -2) * np.pi * np.outer(bins, np.arange(count)) / count
    return _rotated(x, axis, np.cos(angle), np.sin(angle), 1.0 / count if inverse else 1.0)


def _resized(x, axis: int, count: int):
    if x.shape[axis] >= count:
        return piece(x, axis, 0, count)
    high = [count - x.shape[axis] if i == axis else 0 for i in range(len(x.shape))]
    return padded(x, [0] * len(x.shape), high, 0)


def _rotated(x, axis: int, cosine: np.ndarray, sine: np.ndarray, factor: float):
    """The complex matrix cosine + i sine, times `factor`, applied along `axis`."""
    dtype = dtype_of(x).numpy
    letters = "abcdefgh"[:len(x.shape) - 1]
    spec = f"{letters},z{letters[axis]}->{letters.replace(letters[axis], 'z')}"

    def apply(matrix, part):
        plane = reshape_to(piece(x, len(x.shape) - 1, part, 1), tuple(x.shape[:-1]))
        return emit(Contract(spec), plane, (matrix * factor).astype(dtype))
    real, imaginary = apply(cosine, 0), apply(sine, 0)
    if x.shape[-1] == 2:
        real, imaginary = real - apply(sine, 1), imaginary + apply(cosine, 1)
    return lm.stack([real, imaginary], axis=-1)


def _inverse_of_half(x, axis: int, count: int):
    """The real signal of `count` samples whose one-sided spectrum is x: inner bins count twice."""
    bins = count // 2 + 1
    x = _resized(x, axis, bins)
    weight = np.full(bins, 2.0)
    weight[0] = 1
    if count % 2 == 0:
        weight[-1] = 1
    angle = 2 * np.pi * np.outer(np.arange(count), np.arange(bins)) / count
    return piece(_rotated(x, axis, np.cos(angle) * weight, np.sin(angle) * weight, 1.0 / count), len(x.shape) - 1, 0, 1)


@operator("STFT", 17)
def stft(signal, step, window=None, length=None, *, onesided=1):
    """[B, n] or [B, n, 1 or 2] -> [B, frames, bins, 2]: the Fourier transforms of windowed frames `step` apart."""
    step = int(known(step, "frame_step").reshape(()))
    if length is not None:
        count = int(known(length, "frame_length").reshape(()))
    elif window is not None:
        count = window.shape[0]
    else:
        raise Refusal("neither a window nor frame_length is given")
    x = reshape_to(signal, (*signal.shape, 1)) if len(signal.shape) == 2 else signal
    if not isinstance(x.shape[1], int):
        raise Refusal("a signal of symbolic length")
    at = np.arange((x.shape[1] - count) // step + 1)[:, None] * step + np.arange(count)
    frames = lm.take(x, at.astype(np.int64), axis=1)
    if window is not None:
        frames = frames * reshape_to(window, (count, 1))
    return _transformed(frames, 2, count, False, bool(onesided))
