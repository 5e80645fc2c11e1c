"""What is this machine to a compiler?  Processor, threads and their limits, memory, pages: facts for `lamina doctor`."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def processor_name() -> str:
    """The processor's name as the system tells it."""
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def threads() -> dict:
    """Processors of the machine, of this process (affinity), and the cgroup's quota in processors (None: no limit)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    usable = affinity if quota is None else max(1, min(affinity, int(quota + 0.999)))
    return {"processors": os.cpu_count(), "affinity": affinity, "cgroup_quota": quota, "usable": usable}


def cgroup_quota(root: str = "/sys/fs/cgroup") -> float | None:
    """The processors that the cgroup of this process may use, by version 2 (cpu.max) or 1 (cpu.cfs_quota_us)."""
    own = re.search(r"^0::(.*)$", _read("/proc/self/cgroup"), re.MULTILINE)
    for folder in _upward(Path(root + (own.group(1) if own else "")), Path(root)):
        quota = _quota(_read(folder / "cpu.max").split())
        if quota is not None:
            return quota
    return _quota([_read(f"{root}/cpu/cpu.cfs_quota_us"), _read(f"{root}/cpu/cpu.cfs_period_us")])


def _upward(folder: Path, root: Path):
    yield folder
    while folder != root and root in folder.parents:
        folder = folder.parent
        yield folder


def _quota(words: list[str]) -> float | None:
    """Processors of a quota and a period in microseconds; None for "max" or -1."""
    try:
        quota, period = int(words[0]), int(words[1])
    except (ValueError, IndexError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def memory_bytes() -> tuple[int | None, int | None]:
    """(total, available) memory of the machine."""
    found = dict(re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE))
    return tuple(int(found[k]) << 10 if k in found else None for k in ("MemTotal", "MemAvailable"))


def huge_pages() -> str | None:
    """The mode of transparent huge pages: "always", "madvise" or "never"; None where the kernel has none."""
    match = re.search(r"\[(\w+)\]", _read("/sys/kernel/mm/transparent_hugepage/enabled"))
    return match.group(1) if match else None


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
