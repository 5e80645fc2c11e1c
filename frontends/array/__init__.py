"""Which array functions does lamina have?  This list: NumPy's names, the Array API standard's, and the field's.

Every function takes NumPy arrays, tracers and numbers. With a tracer among the arguments it records, otherwise it
computes at once and gives a NumPy array.
"""

import math
from types import ModuleType as _Module

from ...compiler.core.dtypes import (bfloat16, bool_, float16, float32, float64, int8, int16, int32, int64, uint8,
                                     uint16, uint32, uint64)
from . import linalg, methods  # methods gives Tracer its operators and methods
from .convolution import avg_pool, conv, conv_transpose, global_avg_pool, global_max_pool, max_pool
from .creation import (arange, array, asarray, empty, empty_like, eye, from_dlpack, full, full_like, identity, indices,
                       linspace, logspace, meshgrid, one_hot, ones, ones_like, random_bits, tri, zeros, zeros_like)
from .control import cond, fori_loop, scan, switch, while_loop
from .data_types import __array_namespace_info__, can_cast, finfo, iinfo, isdtype, result_type
from .elementwise import (abs, absolute, add, astype, bitwise_and, bitwise_invert, bitwise_left_shift, bitwise_not,
                          bitwise_or, bitwise_right_shift, bitwise_xor, cbrt, ceil, clip, copysign, divide, divmod,
                          equal, erf, erfc, exp, exp2, expm1, fabs, floor, floor_divide, fmax, fmin, fmod, greater,
                          greater_equal, invert, isclose, isfinite, isinf, isnan, isneginf, isposinf, left_shift, less,
                          less_equal, log, log1p, log2, log10, logaddexp, logical_and, logical_not, logical_or,
                          logical_xor, maximum, minimum, mod, multiply, nan_to_num, negative, nextafter, not_equal,
                          positive, pow, power, reciprocal, remainder, right_shift, rint, round, rsqrt, sign, signbit,
                          sqrt, square, subtract, true_divide, trunc, where)
from .identity import stop_gradient
from .indexing import at, dynamic_slice, dynamic_update_slice, gather_nd, getitem, put_along_axis, scatter_nd
from .interpolation import resize
from .linear_algebra import (cross, diag, diagonal, dot, einsum, inner, kron, matmul, matrix_transpose, norm,
                             normalize, outer, tensordot, trace, tril, triu, vecdot, vector_norm)
from .manipulation import (append, array_split, atleast_1d, atleast_2d, broadcast_arrays, broadcast_to, column_stack,
                           concat, concatenate, expand_dims, flip, hstack, moveaxis, pad, permute_dims, ravel, repeat,
                           reshape, roll, split, squeeze, stack, swapaxes, tile, transpose, unstack, vstack)
from .neural import (attention, batch_norm, celu, elu, embedding, gelu, glu, group_norm, hard_sigmoid, hard_swish,
                     hard_tanh, hardsigmoid, hardswish, hardtanh, instance_norm, layer_norm, leaky_relu, log_sigmoid,
                     log_softmax, logsigmoid, mish, relu, relu6, rms_norm, selu, sigmoid, silu, softmax, softplus,
                     softsign, swish)
from .operands import broadcast_shapes
from .reduction import (all, allclose, amax, amin, any, array_equal, average, count_nonzero, cummax, cummin, cumprod,
                        cumsum, cumulative_prod, cumulative_sum, diff, logsumexp, max, mean, median, min, nanmax,
                        nanmean, nanmin, nansum, prod, ptp, std, sum, var)
from .searching import (argmax, argmin, argsort, argwhere, flatnonzero, isin, nonzero, searchsorted, sort, take,
                        take_along_axis, topk, unique, unique_all, unique_counts, unique_inverse, unique_values)
from .trigonometry import (acos, acosh, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, asin, asinh, atan,
                           atan2, atanh, cos, cosh, deg2rad, degrees, hypot, rad2deg, radians, sin, sinh, tan, tanh)

bool = bool_
e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None
__all__ = [name for name, value in globals().items() if not name.startswith("_") and not isinstance(value, _Module)]
