"""Can this machine run that code?  Its architecture and the instruction sets that the operating system reports."""

from __future__ import annotations

import platform
from functools import cache

from .errors import UnsupportedError

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


@cache
def host_architecture() -> str:
    """The architecture as LLVM's triples name it, such as "x86_64"."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


@cache
def host_features() -> frozenset[str]:
    """The CPU features of this machine by Linux's names: "sse4_2", "avx2", "asimd"."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, values = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return frozenset(values.split())
    except OSError:
        pass
    import llvmlite.binding as llvm  # no /proc: LLVM asks the processor itself
    return frozenset(name.replace(".", "_").replace("neon", "asimd") for name, has in llvm.get_host_cpu_features().items() if has)


def missing_features(target: dict) -> list[str]:
    """What `target["required"]` of a manifest asks for and this machine does not have."""
    return [name for name in target["required"] if name not in host_features()]


def check_target(target: dict, what: str) -> None:
    """UnsupportedError where `what`, built for the manifest's `target`, can't run on this machine."""
    architecture, _, rest = target["triple"].partition("-")
    here = host_architecture()
    if architecture != here or "linux" in rest and platform.system() != "Linux":
        raise UnsupportedError(f"{what} was built for {target['name']} ({target['triple']}), this machine is {here} {platform.system()}",
                               hint="build it again for this machine")
    missing = missing_features(target)
    if missing:
        raise UnsupportedError(f"{what} was built for {target['name']}; this CPU lacks {', '.join(missing)}",
                               hint="build it again for this CPU, or for one that both have, such as x86-64-v2")
