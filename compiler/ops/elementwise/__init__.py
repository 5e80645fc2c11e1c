"""Operators that compute each element from the operands' elements at its place.

All operands have one shape (`Broadcast` makes it so) and, but for select's condition, one dtype.
"""

from .base import Elementwise as Elementwise
from .binary import (
    Add as Add, And as And, Atan2 as Atan2, Binary as Binary, Div as Div, FloorDiv as FloorDiv, Max as Max,
    Min as Min, Mod as Mod, Mul as Mul, Or as Or, Pow as Pow, Rem as Rem, Shift as Shift, Shl as Shl,
    Shr as Shr, Sub as Sub, Xor as Xor)
from .comparison import Compare as Compare, Select as Select
from .conversion import Cast as Cast
from .unary import (
    Abs as Abs, Acos as Acos, Acosh as Acosh, Asin as Asin, Asinh as Asinh, Atan as Atan, Atanh as Atanh,
    Ceil as Ceil, Cos as Cos, Cosh as Cosh, Erf as Erf, Erfc as Erfc, Exp as Exp, Exp2 as Exp2, Expm1 as Expm1,
    Floor as Floor, IsInf as IsInf, IsNan as IsNan, Log as Log, Log1p as Log1p, Log2 as Log2, Neg as Neg,
    Not as Not, Round as Round, Rsqrt as Rsqrt, Sigmoid as Sigmoid, Sign as Sign, Sin as Sin, Sinh as Sinh,
    Sqrt as Sqrt, Tan as Tan, Tanh as Tanh, Trunc as Trunc, Unary as Unary)
