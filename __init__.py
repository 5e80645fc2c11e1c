"""lamina compiles neural networks: from a Python function or an ONNX model to native code, and no Python between
kernels.

This file is the whole public API, as a list. `import lamina as lm` is quick: what the list names is imported when it is
first used (PEP 562), so that the command line and scripts that load an artifact don't wait for what they don't need.
"""

from importlib import import_module as _import_module
from math import e, inf, nan, pi
from typing import TYPE_CHECKING

from .compiler.core.dtypes import (DType, bfloat16, bool_, bool_ as bool, float16, float32, float64, int8, int16,
                                   int32, int64, uint8, uint16, uint32, uint64)
from .compiler.core.errors import (BudgetError, CompilerError, DTypeError, FormatError, LaminaError, NanError,
                                   ShapeError, TraceError, UnsupportedError, VerifyError)
from .compiler.core.options import Options

if TYPE_CHECKING:  # the list: type checkers and editors read it here, __getattr__ finds the same names below
    from .compiler.graph.graph import Graph
    from .frontends import data, nn, optim, random, testing, train, tree
    from .frontends.accumulation import accumulate_gradients
    from .frontends.array import linalg
    from .frontends.array.control import cond, fori_loop, scan, switch, while_loop
    from .frontends.array.convolution import avg_pool, conv, conv_transpose, global_avg_pool, global_max_pool, max_pool
    from .frontends.array.creation import (arange, array, asarray, empty, empty_like, eye, from_dlpack, full,
                                           full_like, identity, indices, linspace, logspace, meshgrid, one_hot, ones,
                                           ones_like, random_bits, tri, zeros, zeros_like)
    from .frontends.array.data_types import __array_namespace_info__, can_cast, finfo, iinfo, isdtype, result_type
    from .frontends.array.elementwise import (abs, absolute, add, astype, bitwise_and, bitwise_invert,
                                              bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift,
                                              bitwise_xor, cbrt, ceil, clip, copysign, divide, divmod, equal, erf,
                                              erfc, exp, exp2, expm1, fabs, floor, floor_divide, fmax, fmin, fmod,
                                              greater, greater_equal, invert, isclose, isfinite, isinf, isnan,
                                              isneginf, isposinf, left_shift, less, less_equal, log, log1p, log2,
                                              log10, logaddexp, logical_and, logical_not, logical_or, logical_xor,
                                              maximum, minimum, mod, multiply, nan_to_num, negative, nextafter,
                                              not_equal, positive, pow, power, reciprocal, remainder, right_shift,
                                              rint, round, rsqrt, sign, signbit, sqrt, square, subtract, true_divide,
                                              trunc, where)
    from .frontends.array.identity import stop_gradient
    from .frontends.array.indexing import (at, dynamic_slice, dynamic_update_slice, gather_nd, getitem, put_along_axis,
                                           scatter_nd)
    from .frontends.array.interpolation import resize
    from .frontends.array.linear_algebra import (cross, diag, diagonal, dot, einsum, inner, kron, matmul,
                                                 matrix_transpose, norm, normalize, outer, tensordot, tril, triu,
                                                 vecdot, vector_norm)
    from .frontends.array.manipulation import (append, array_split, atleast_1d, atleast_2d, broadcast_arrays,
                                               broadcast_to, column_stack, concat, concatenate, expand_dims, flip,
                                               hstack, moveaxis, pad, permute_dims, ravel, repeat, reshape, roll,
                                               split, squeeze, stack, swapaxes, tile, transpose, unstack, vstack)
    from .frontends.array.neural import (attention, batch_norm, celu, elu, embedding, gelu, glu, group_norm,
                                         hard_sigmoid, hard_swish, hard_tanh, hardsigmoid, hardswish, hardtanh,
                                         instance_norm, layer_norm, leaky_relu, log_sigmoid, log_softmax, logsigmoid,
                                         mish, relu, relu6, rms_norm, selu, sigmoid, silu, softmax, softplus, softsign,
                                         swish)
    from .frontends.array.operands import broadcast_shapes
    from .frontends.array.reduction import (all, allclose, amax, amin, any, array_equal, average, count_nonzero,
                                            cummax, cummin, cumprod, cumsum, cumulative_prod, cumulative_sum, diff,
                                            logsumexp, max, mean, median, min, nanmax, nanmean, nanmin, nansum, prod,
                                            ptp, std, sum, var)
    from .frontends.array.searching import (argmax, argmin, argsort, argwhere, flatnonzero, isin, nonzero,
                                            searchsorted, sort, take, take_along_axis, topk, unique, unique_all,
                                            unique_counts, unique_inverse, unique_values)
    from .frontends.array.trigonometry import (acos, acosh, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh,
                                               asin, asinh, atan, atan2, atanh, cos, cosh, deg2rad, degrees, hypot,
                                               rad2deg, radians, sin, sinh, tan, tanh)
    from .frontends.bisect import bisect
    from .frontends.build import build
    from .frontends.compile import compile, load, parse
    from .frontends.custom_derivatives import checkpoint, custom_jvp, custom_vjp
    from .frontends.derivatives import grad, jvp, linearize, value_and_grad, vjp
    from .frontends.jacobians import hessian, jacfwd, jacrev
    from .frontends.jit import explain_retraces, jit
    from .frontends.precision import DynamicLossScale, all_finite, mixed_precision, select_tree
    from .frontends.trace import TensorSpec, trace
    from .frontends.vectorization import vmap
    from .runtime.executable import Executable
    from .runtime.threads import set_num_threads

newaxis = None
__version__ = "0.1.0"
__array_api_version__ = "2024.12"

#: Where what is no array function lives: a module, or a name in one.
_MODULES = {"data": ".frontends.data", "linalg": ".frontends.array.linalg", "nn": ".frontends.nn",
            "onnx": ".frontends.onnx", "optim": ".frontends.optim", "random": ".frontends.random",
            "testing": ".frontends.testing", "train": ".frontends.train", "tree": ".frontends.tree"}
_NAMES = {"Executable": ".runtime.executable", "Graph": ".compiler.graph.graph", "TensorSpec": ".frontends.trace",
          **dict.fromkeys(("checkpoint", "custom_jvp", "custom_vjp"), ".frontends.custom_derivatives"),
          **dict.fromkeys(("grad", "jvp", "linearize", "value_and_grad", "vjp"), ".frontends.derivatives"),
          **dict.fromkeys(("hessian", "jacfwd", "jacrev"), ".frontends.jacobians"),
          "bisect": ".frontends.bisect", "build": ".frontends.build", "compile": ".frontends.compile",
          "explain_retraces": ".frontends.jit", "jit": ".frontends.jit",
          "load": ".frontends.compile", "parse": ".frontends.compile", "set_num_threads": ".runtime.threads",
          "trace": ".frontends.trace",
          **dict.fromkeys(("DynamicLossScale", "all_finite", "mixed_precision", "select_tree"), ".frontends.precision"),
          "accumulate_gradients": ".frontends.accumulation", "vmap": ".frontends.vectorization",
          "__array_namespace_info__": ".frontends.array.data_types"}


def __getattr__(name: str):
    if name in _MODULES:
        value = _import_module(_MODULES[name], __name__)
    elif name in _NAMES:
        value = getattr(_import_module(_NAMES[name], __name__), name)
    elif name == "fft":
        raise UnsupportedError("lamina has no lm.fft", hint="numpy.fft works on arrays outside of traced functions")
    elif not name.startswith("__") and name in _array_functions():
        value = getattr(_import_module(".frontends.array", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _array_functions() -> list[str]:
    return _import_module(".frontends.array", __name__).__all__


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_NAMES, *_array_functions()})
