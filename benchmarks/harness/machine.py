"""On which machine was this measured?  The lines that stand above every table."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe_machine() -> dict[str, object]:
    """Processor, cores that this process may use, caches, vector extensions, memory, systems, load: JSON values."""
    cpu = _read_cpuinfo()
    flags = set(str(cpu.get("flags") or cpu.get("Features") or "").split())
    extensions = [name for name in ("sse4_2", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile",
                                    "asimd", "sve", "sve2", "bf16") if name in flags]
    return {
        "processor": cpu.get("model name") or platform.processor() or platform.machine(),
        "family_model": "/".join(str(cpu.get(key, "?")) for key in ("cpu family", "model", "stepping")),
        "cores": len(allowed_cores()),
        "extensions": extensions,
        "caches": _read_caches(),
        "memory_bytes": _read_memory_bytes(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def allowed_cores() -> list[int]:
    """The cores that this process may run on, in order; all of them where the system keeps no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def format_machine(machine: dict[str, object]) -> str:
    """The description as two lines for people."""
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    gigabytes = (machine["memory_bytes"] or 0) / 2**30
    return (f"{machine['processor']} (family/model/stepping {machine['family_model']}), {machine['cores']} cores, "
            f"{' '.join(machine['extensions'])}\n"
            f"{caches}; {gigabytes:.0f} GiB; {machine['system']}; Python {machine['python']}; "
            f"load average at the start {machine['load_average']}")


def _read_cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo, empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(errors="replace").split("\n\n", 1)[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def _read_caches() -> dict[str, str]:
    """{"L1d": "48K", ...} of the first core, from sysfs."""
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        caches[f"L{level}" + {"Data": "d", "Instruction": "i"}.get(kind, "")] = size
    return caches


def _read_memory_bytes() -> int | None:
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
