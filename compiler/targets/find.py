"""Which target does a name mean?  "host" is the highest level that this machine has."""

from __future__ import annotations

from functools import cache

from ...runtime.cpu_features import host_architecture, host_features
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
    architecture = host_architecture()
    here = [t for t in all_targets() if t.architecture == architecture]
    if not here:
        raise UnsupportedError(f"lamina has no target for this machine ({architecture})", hint="build for another one with target=...")
    for target in reversed(here):
        if host_features().issuperset(target.required):
            return target
    raise UnsupportedError(f"this CPU has less than {here[0].name} asks for", hint="build on and for a newer machine")
