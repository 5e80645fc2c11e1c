"""How many threads may models use?  One limit for the process, for models that are loaded and those that will be."""

from __future__ import annotations

import ctypes
import os

from .errors import LaminaError
from .settings import num_threads_setting

_SET = "lamina_set_max_threads"
_limit: int | None = None
_setters: list = []


def set_num_threads(n: int) -> None:
    """Let every model of this process use `n` threads at most, from its next run on.

    Before, LAMINA_NUM_THREADS says how many, else the CPUs that the process may use. `threads=` of a call can only
    lower it.
    """
    global _limit
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise LaminaError(f"set_num_threads({n!r})", hint="give a whole number from 1 on")
    _limit = n
    for setter in _setters:
        setter(n)


def thread_limit() -> int:
    """How many threads were asked for: by set_num_threads, else LAMINA_NUM_THREADS, else the CPUs of the process."""
    if _limit is not None:
        return _limit
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return num_threads_setting() or usable


def add_pool(exports: dict[str, int]) -> None:
    """A thread pool was linked: `exports` are the addresses of its functions. It gets the limit, now and later."""
    if _SET not in exports:
        return
    setter = ctypes.CFUNCTYPE(None, ctypes.c_int32)(exports[_SET])
    _setters.append(setter)
    if _limit is not None:
        setter(_limit)
