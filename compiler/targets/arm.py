"""64-bit Arm with Advanced SIMD (Armv8-A, the baseline of every aarch64 Linux)."""

from __future__ import annotations

from .target import Target

AARCH64 = Target("aarch64", "aarch64-unknown-linux-gnu", "generic", "+neon,+fp-armv8", 16, 32, True, True, 8, 3, 32 << 10, 512 << 10, ("asimd",))
