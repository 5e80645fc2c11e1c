"""What do the recipes of lower/math give on NumPy arrays, and how far from the truth is that?"""

from __future__ import annotations

import numpy as np

from lamina.compiler.core.dtypes import DType, as_dtype
from lamina.compiler.kernel.ir import Const, Expr, Var
from lamina.compiler.kernel.sharing import postorder
from lamina.compiler.kernel.vectorized import evaluate_vectorized
from lamina.compiler.lower.math import expand


def evaluate(op: str, *arrays: np.ndarray) -> np.ndarray:
    """`op` of float32 or float64 arrays of one shape, by its recipe."""
    dtype = as_dtype(arrays[0].dtype)
    env = {f"x{i}": a for i, a in enumerate(arrays)}

    def let(name: str, value: Expr) -> Expr:
        if isinstance(value, (Const, Var)):
            return value
        var = Var(f"{name}{len(env)}", value.dtype)
        env[var.name] = np.broadcast_to(evaluate_vectorized(value, env), arrays[0].shape)
        return var
    result = expand(op, tuple(Var(f"x{i}", dtype) for i in range(len(arrays))), let)
    return np.array(evaluate_vectorized(result, env))


def steps(op: str, dtype: DType, arity: int = 1) -> list[Expr]:
    """Every expression of a recipe."""
    bound: list[Expr] = []

    def let(name: str, value: Expr) -> Expr:
        if isinstance(value, (Const, Var)):
            return value
        bound.append(value)
        return Var(f"{name}{len(bound)}", value.dtype)
    result = expand(op, tuple(Var(f"x{i}", dtype) for i in range(arity)), let)
    return postorder([*bound, result])


def largest_error(got: np.ndarray, exact: np.ndarray, rest: np.ndarray | float = 0.0) -> float:
    """The largest distance of `got` from exact + rest (float64), in units in the last place of got's format.

    Infinities, NaN, and zeros with their sign must be the rounded exact ones: another value there is infinitely far.
    """
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        _, exponent = np.frexp(exact)
        unit = np.ldexp(1.0, np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant).astype(np.int32))
        error = np.abs((got.astype(np.float64) - exact) - rest) / unit
    special = np.isnan(exact) | np.isnan(got) | np.isinf(rounded) | np.isinf(got) | (exact == 0)
    same = (np.isnan(got) & np.isnan(exact)) | ((got == rounded) & (np.signbit(got) == np.signbit(rounded)))
    error = np.where(special, np.where(same, 0.0, np.inf), error)
    error = np.where(~special & (np.signbit(got) != np.signbit(exact)), np.inf, error)
    return float(error.max())


def sample(dtype, count: int, low: float = -30.0, high: float = 30.0, seed: int = 0) -> np.ndarray:
    """About `count` numbers: every exponent and both signs, denormal numbers, dense ones in [-2, 2] and [low, high],
    and every special value."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    info = np.finfo(dtype)
    exponents = 1 << info.nexp
    field = np.repeat(np.arange(exponents - 1, dtype=np.uint64), max(1, count // 2 // exponents))
    bits = field << np.uint64(info.nmant) | rng.integers(0, 1 << info.nmant, field.size, dtype=np.uint64)
    sign = rng.integers(0, 2, field.size, dtype=np.uint64) << np.uint64(info.bits - 1)
    spread = (bits | sign).astype(f"uint{info.bits}").view(dtype)
    dense = [rng.uniform(a, b, count // 4).astype(dtype) for a, b in ((-2, 2), (low, high))]
    return np.concatenate([spread, *dense, special_values(dtype)])


def special_values(dtype) -> np.ndarray:
    """Zeros, infinities, NaN, the limits of the format, and where recipes change their formula; both signs."""
    info = np.finfo(dtype)
    edges = np.array([0, 1, 2, 3, 4, 5, 10, 0.5, 0.25, 1.5, 2.5, 100, np.inf, info.max, info.tiny,
                      info.smallest_subnormal, info.eps, np.pi, np.pi / 2, 1 - info.epsneg, 1 + info.eps,
                      2.0 ** info.nmant, 2.0 ** info.nmant - 0.5, 88.7, 89.5, 103.9, 104.1, 709.7, 709.8, 745.1, 745.2, 17.3, 18.5, 0.6, 0.85, 3.95], dtype)
    return np.concatenate([edges, -edges, np.array([np.nan], dtype)])
