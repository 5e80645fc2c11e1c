"""Which target does a name mean?  "host" is the highest level that this machine has."""

from __future__ import annotations

import platform
from functools import cache

from ..core.errors import UnsupportedError
from .arm import AARCH64
from .target import Target
from .x86 import V2, V3, V4

_TABLE = {t.name: t for t in (V2, V3, V4, AARCH64)} | {"aarch64-linux": AARCH64, "arm64": AARCH64}


def all_targets() -> tuple[Target, ...]:
    return (V2, V3, V4, AARCH64)


def find_target(name: str) -> Target:
    """The target called `name`; UnsupportedError lists the names there are."""
    if name == "host":
        return _host()
    if name not in _TABLE:
        raise UnsupportedError(f"no target is called {name!r}", hint="there are host, " + ", ".join(_TABLE))
    return _TABLE[name]


@cache
def _host() -> Target:
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return AARCH64
    if machine not in ("x86_64", "amd64"):
        raise UnsupportedError(f"lamina has no target for this machine ({machine})", hint="build for another one with target=...")
    import llvmlite.binding as llvm
    features = llvm.get_host_cpu_features()

    def has(*names: str) -> bool:
        return all(features.get(n, False) for n in names)

    if has("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"):
        return V4
    if has("avx2", "fma", "bmi2", "f16c"):
        return V3
    if has("sse4.2", "popcnt"):
        return V2
    raise UnsupportedError("this CPU is older than x86-64-v2 (2009)", hint="build on and for a newer machine")
