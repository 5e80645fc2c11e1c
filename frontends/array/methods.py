"""Which operators and methods does a traced array have?  NumPy's, each one the array function of that name."""

from __future__ import annotations

from . import elementwise as e
from . import indexing, linear_algebra, manipulation, reduction, searching
from .creation import require_cpu
from .operands import Array
from .tracer import Tracer

_BINARY = {"add": e.add, "sub": e.subtract, "mul": e.multiply, "truediv": e.divide, "floordiv": e.floor_divide,
           "mod": e.remainder,
           "divmod": e.divmod, "pow": e.power, "matmul": linear_algebra.matmul, "and": e.bitwise_and,
           "or": e.bitwise_or,
           "xor": e.bitwise_xor, "lshift": e.bitwise_left_shift, "rshift": e.bitwise_right_shift}
_COMPARISONS = {"eq": e.equal, "ne": e.not_equal, "lt": e.less, "le": e.less_equal, "gt": e.greater,
                "ge": e.greater_equal}
_UNARY = {"neg": e.negative, "pos": e.positive, "abs": e.abs, "invert": e.bitwise_invert}

#: Methods whose arguments are those of the function.
_METHODS = {"sum": reduction.sum, "prod": reduction.prod, "mean": reduction.mean, "var": reduction.var,
            "std": reduction.std,
            "max": reduction.max, "min": reduction.min, "any": reduction.any, "all": reduction.all,
            "ptp": reduction.ptp,
            "cumsum": reduction.cumsum, "cumprod": reduction.cumprod, "argmax": searching.argmax,
            "argmin": searching.argmin,
            "sort": searching.sort, "argsort": searching.argsort, "take": searching.take,
            "squeeze": manipulation.squeeze,
            "ravel": manipulation.ravel, "flatten": manipulation.ravel, "swapaxes": manipulation.swapaxes,
            "repeat": manipulation.repeat, "dot": linear_algebra.dot, "trace": linear_algebra.trace,
            "diagonal": linear_algebra.diagonal, "clip": e.clip, "round": e.round, "astype": e.astype,
            "copy": e.positive,
            "searchsorted": searching.searchsorted, "nonzero": searching.nonzero}


def _reflected(function):
    return lambda self, other: function(other, self)


def _method(function):
    def method(self, *args, **kwargs):
        return function(self, *args, **kwargs)
    method.__name__ = function.__name__
    method.__doc__ = function.__doc__
    return method


def reshape(self, *shape, copy: bool | None = None) -> Array:
    """The same elements as `shape`: x.reshape(2, -1) or x.reshape((2, -1))."""
    return manipulation.reshape(self, shape[0] if len(shape) == 1 else shape, copy=copy)


def transpose(self, *axes) -> Array:
    """x with its axes reversed, or in the given order: x.transpose(1, 0) or x.transpose((1, 0))."""
    return manipulation.transpose(self, (axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes) or None)


def to_device(self, device: str, /, *, stream=None) -> Array:
    """The array itself: traced arrays are where their function runs."""
    require_cpu(device)
    return self


def _attach() -> None:
    for name, function in _BINARY.items():
        setattr(Tracer, f"__{name}__", _method(function))
        setattr(Tracer, f"__r{name}__", _reflected(function))
    for name, function in (_COMPARISONS | _UNARY).items():
        setattr(Tracer, f"__{name}__", _method(function))
    for name, function in _METHODS.items():
        setattr(Tracer, name, _method(function))
    Tracer.__getitem__ = _method(indexing.getitem)
    Tracer.__round__ = _method(e.round)
    Tracer.reshape = reshape
    Tracer.to_device = to_device
    Tracer.transpose = transpose
    Tracer.T = property(manipulation.transpose, doc="The array with its axes reversed.")
    Tracer.mT = property(linear_algebra.matrix_transpose, doc="The array with its last two axes exchanged.")
    Tracer.at = property(indexing.At,
                         doc="x.at[index].set(v), .add, .multiply, .min, .max: new arrays with places updated.")


_attach()
