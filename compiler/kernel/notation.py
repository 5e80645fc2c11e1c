"""How are the operations of the Kernel IR written?  The signs, levels and words that printing and parsing share."""

from __future__ import annotations

from .ir import FOR_KINDS, ROLES, SPACES

# the sign of a binary operation and how tightly it binds
INFIX = {"or": ("|", 1), "xor": ("^", 2), "and": ("&", 3), "shl": ("<<", 4), "shr": (">>", 4), "add": ("+", 5),
         "sub": ("-", 5), "mul": ("*", 6), "div": ("/", 6), "floordiv": ("//", 6), "mod": ("%", 6)}
COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
ACCUMULATE = {"add": "+=", "mul": "*=", "min": "min=", "max": "max=", "and": "&=", "or": "|="}
PREFIX = {"neg": "-", "not": "~"}
UNARY_LEVEL = 7
SIGNS = {sign: (op, level) for op, (sign, level) in INFIX.items()}
RESERVED = frozenset((*FOR_KINDS, *ROLES, *SPACES, "for", "if", "else", "let", "with", "stream", "prefetch", "choose",
                      "bitcast", "true", "false", "inf", "nan", "min", "max", "kernel", "symbols", "strides", "role", "space"))
DTYPES = frozenset(("bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "bf16", "f32", "f64"))
