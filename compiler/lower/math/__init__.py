"""Which functions have no instruction, and what primitive operations compute them?"""

from __future__ import annotations

from ...core.dtypes import float32, float64
from ...core.errors import UnsupportedError
from ...kernel.ir import Expr
from . import error_function, exponential, inverse, logarithm, power, remainder, trigonometric
from .number import Let, Number

_RECIPES = {
    "rsqrt": lambda x: 1.0 / x.sqrt(),
    "exp": exponential.exp, "exp2": exponential.exp2, "expm1": exponential.expm1, "sigmoid": exponential.sigmoid,
    "tanh": exponential.tanh, "sinh": exponential.sinh, "cosh": exponential.cosh,
    "log": logarithm.log, "log2": logarithm.log2, "log1p": logarithm.log1p,
    "erf": error_function.erf, "erfc": error_function.erfc,
    "asin": inverse.asin, "acos": inverse.acos, "atan": inverse.atan, "atan2": inverse.atan2,
    "pow": power.pow, "sin": trigonometric.sin, "cos": trigonometric.cos, "tan": trigonometric.tan,
    "scale": exponential.scale_by_bits, "rem": remainder.rem, "mod": remainder.mod,
    "asinh": inverse.asinh, "acosh": inverse.acosh, "atanh": inverse.atanh,
}

EXPANDED = frozenset(_RECIPES)


def expand(op: str, operands: tuple[Expr, ...], let: Let) -> Expr:
    """The value of `op` on float32 or float64 `operands` by primitive operations: add sub mul div fma sqrt round select
    compare bitcast, integer arithmetic, and `scale` where it is not `op`; no branches, no tables, no loops.

    `let(name, expression)` binds an intermediate value and gives the variable. Results are within 2 units in the last
    place (`tests/math` measures them), NaN, infinities, signed zeros and denormal numbers included. f32 recipes use no
    f64.
    """
    dtype = operands[0].dtype
    if op not in _RECIPES:
        raise UnsupportedError(f"no recipe computes {op}", hint="recipes: " + ", ".join(sorted(_RECIPES)))
    if dtype not in (float32, float64):
        raise UnsupportedError(f"{op} of {dtype.name} has no recipe", hint="cast to float32 first")
    return _RECIPES[op](*(Number(x, let) for x in operands)).expr
