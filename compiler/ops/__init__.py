"""Which operators are there?  One home for each; this is the visible list."""

from .constant import Constant, Iota
from .contract import Contract
from .control import Call, Cond, Fused, Scan, While
from .conv import Conv
from .derivative import Checkpoint, CustomJvp, CustomVjp
from .dequantize import Dequantize
from .elementwise import (
    Abs, Acos, Acosh, Add, And, Asin, Asinh, Atan, Atan2, Atanh, Binary, Cast, Ceil, Compare, Cos, Cosh, Div,
    Elementwise, Erf, Erfc, Exp, Exp2, Expm1, Floor, FloorDiv, IsInf, IsNan, Log, Log1p, Log2, Max, Min, Mod, Mul,
    Neg, Not, Or, Pow, Rem, Round, Rsqrt, Select, Shl, Shr, Sigmoid, Sign, Sin, Sinh, Sqrt, Sub, Tan, Tanh, Trunc,
    Unary, Xor)
from .gather import DynamicSlice, DynamicUpdateSlice, GatherNd, Take, TakeAlong
from .identity import Barrier, StopGradient
from .op import REGISTRY, Op, Sample
from .pack import Unpack
from .pool import Pool
from .random import RandomBits
from .rearrange import Broadcast, Concat, Pad, Reshape, Slice, Transpose
from .reduce import ArgReduce, Cumulative, Reduce
from .scatter import ScatterAlong, ScatterNd
from .sort import Sort
from .winograd import UnpackWinograd

__all__ = [
    "Abs", "Acos", "Acosh", "Add", "And", "ArgReduce", "Asin", "Asinh", "Atan", "Atan2", "Atanh", "Barrier", "Binary",
    "Broadcast", "Call", "Cast", "Ceil", "Checkpoint", "Compare", "Concat", "Cond", "Constant", "Contract", "Conv",
    "Cos", "Cosh", "Cumulative", "CustomJvp", "CustomVjp", "Dequantize", "Div", "DynamicSlice", "DynamicUpdateSlice",
    "Elementwise", "Erf", "Erfc", "Exp", "Exp2", "Expm1", "Floor", "FloorDiv", "Fused", "GatherNd", "Iota", "IsInf",
    "IsNan", "Log", "Log1p", "Log2", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Op", "Or", "Pad", "Pool", "Pow",
    "REGISTRY", "RandomBits", "Reduce", "Rem", "Reshape", "Round", "Rsqrt", "Sample", "Scan", "ScatterAlong",
    "ScatterNd", "Select", "Shl", "Shr", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "Sort", "Sqrt", "StopGradient",
    "Sub", "Take", "TakeAlong", "Tan", "Tanh", "Transpose", "Trunc", "Unary", "Unpack", "UnpackWinograd", "While",
    "Xor"]
