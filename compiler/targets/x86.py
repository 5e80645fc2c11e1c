"""x86-64 by psABI level. Tiles: rows x vectors of accumulators, plus the held operands, fill the register file (BLIS).

On v3 twelve ymm accumulators hide the latency of two FMA units; on v4 twenty-eight zmm do, with the row operand broadcast
from memory inside the FMA. Caches are those of the smallest machines of a level (v4: Skylake-SP, Zen 4).
"""

from __future__ import annotations

from .target import Target

_TRIPLE = "x86_64-unknown-linux-gnu"
_V2 = ("sse4_2", "popcnt", "ssse3")
_V3 = _V2 + ("avx2", "fma", "bmi2", "f16c", "movbe")
_V4 = _V3 + ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

V2 = Target("x86-64-v2", _TRIPLE, "x86-64-v2", "", 16, 16, False, False, 4, 2, 32 << 10, 256 << 10, _V2)
V3 = Target("x86-64-v3", _TRIPLE, "x86-64-v3", "", 32, 16, True, True, 6, 2, 32 << 10, 512 << 10, _V3)
V4 = Target("x86-64-v4", _TRIPLE, "x86-64-v4", "-prefer-256-bit", 64, 32, True, True, 14, 2, 32 << 10, 1 << 20, _V4,
            has_scalef=True)
