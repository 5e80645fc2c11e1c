"""How are schedules measured in this process, and where is that kept?  By the profiler; in the cache, by machine."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Sequence

import numpy as np

from ..compiler.core.errors import LaminaError, UnsupportedError
from ..compiler.core.types import TensorType
from ..compiler.targets.find import find_target
from ..runtime.artifact import Artifact
from ..runtime.cache import DiskCache, artifact_key
from ..runtime.threads import thread_limit

SECONDS = 0.1  # that one program of candidates runs, at least five times
FEW = 4  # integers are below this: they may be indices


class CachedBench:
    """Measures on this machine with as many threads as calls use, and keeps results in `cache`, and while it lives."""

    def __init__(self, cache: DiskCache | None):
        self._cache = cache
        self._known: dict[str, bytes] = {}

    @cached_property
    def machine(self) -> tuple[str, ...]:
        """What times depend on beside the code."""
        return machine_key()

    def measure(self, artifact: Artifact, types: Sequence[TensorType]) -> dict[str, float]:
        """The seconds of each launch by its label, the fastest of several runs."""
        from ..runtime.executable import Executable
        generator = np.random.default_rng(0)
        arrays = [_draw(generator, t) for t in types]
        profile = Executable(artifact).profile(*arrays, seconds=SECONDS)
        if profile.is_interrupted:
            raise KeyboardInterrupt
        return {row.label: row.minimum for row in profile.rows}

    def get(self, key: str) -> bytes | None:
        """What was measured before."""
        key = artifact_key("schedule", key, *self.machine)
        found = self._known.get(key)
        return found if found is not None or self._cache is None else self._cache.get(key)

    def put(self, key: str, data: bytes) -> None:
        """Keep what was measured."""
        key = artifact_key("schedule", key, *self.machine)
        self._known[key] = data
        if self._cache is not None:
            self._cache.put(key, data)

    def clock(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


def machine_key() -> tuple[str, ...]:
    """The processor and the number of threads, as parts of keys of what was measured."""
    from .cli.machine import processor_name
    return processor_name(), f"{thread_limit()} threads"


def bench_for(target_name: str, cache: DiskCache | None) -> CachedBench:
    """What measures code for that target; UnsupportedError where it does not run here."""
    from ..runtime.cpu_features import check_target
    target = find_target(target_name)
    try:
        check_target({"name": target.name, "triple": target.triple, "required": list(target.required)}, "code for it")
    except LaminaError as error:
        raise UnsupportedError(f"Options.tune measures on this machine, which does not run {target.name}: "
                               f"{error.message}", hint="leave tune out, or compile on such a machine") from error
    return CachedBench(cache)


def _draw(generator: np.random.Generator, type: TensorType) -> np.ndarray:
    """An array of a type: floats around 0, small integers."""
    if type.dtype.is_float:
        return generator.standard_normal(type.shape).astype(type.dtype.numpy)
    return generator.integers(0, 2 if type.dtype.is_bool else FEW, type.shape).astype(type.dtype.numpy)
