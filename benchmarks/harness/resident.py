"""How much memory does this process hold, and how much has it held at most?"""

from __future__ import annotations

import os
import sys


def read_resident() -> dict[str, int]:
    """{"resident": bytes now, "peak": most bytes so far} of this process, children not included.

    On Linux from /proc/self/status and not from getrusage: ru_maxrss starts at the peak of the process that forked
    us, so a large parent would hide a small child.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            fields = dict(line.split(":", 1) for line in status if ":" in line)
        return {"resident": _kilobytes(fields["VmRSS"]), "peak": _kilobytes(fields["VmHWM"])}
    except FileNotFoundError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return {"resident": peak, "peak": peak}


def reset_peak() -> bool:
    """Start a new peak from what is held now (Linux, clear_refs); False where the system does not allow it."""
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(descriptor, b"5")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _kilobytes(field: str) -> int:
    return int(field.split()[0]) * 1024
