"""How long did it take before?  Times in a file, with what they are times of and where they were taken."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...compiler.core.errors import FormatError, LaminaError
from ...runtime.version import VERSION
from .arrays import write_file
from .machine import memory_bytes, processor_name, threads
from .timing import Samples

SCHEMA = 1
DIGITS = 5  # of a time that is kept


def this_machine() -> dict:
    """What times depend on beside the model: the processor, how many of them, the memory and the system."""
    total, _ = memory_bytes()
    return {"processor": processor_name(), "processors": os.cpu_count(), "usable": threads()["usable"],
            "memory_gib": round(total / 2**30) if total else None,
            "system": f"{platform.system()} {platform.machine()}"}


def save_baseline(path: str, model: str, inputs: Mapping[str, str], samples: Mapping[int, Samples]) -> None:
    """Write the samples by number of threads, of `model` on `inputs` (their types by name)."""
    data = {"schema": SCHEMA, "command": "bench", "model": model, "lamina": VERSION, "machine": this_machine(),
            "inputs": dict(inputs),
            "samples": {str(count): [[float(f"{t:.{DIGITS}g}") for t in turn]
                                     for turn in map(np.ndarray.tolist, s.points())]
                        for count, s in samples.items()}}
    write_file(path, json.dumps(data, separators=(",", ":")) + "\n")


def read_baseline(path: str) -> dict:
    """What `save_baseline` wrote. FormatError where it is something else."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        known = {int(count): Samples(turns) for count, turns in data["samples"].items()}
        if data["schema"] != SCHEMA or not all(len(s) and min(s.times) > 0 for s in known.values()):
            raise ValueError("its times make no sense, or it is of another version")
        return {"machine": data["machine"], "inputs": data["inputs"], "lamina": data["lamina"], "model": data["model"],
                "samples": known}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path} is no baseline: {error}",
                          hint="`lamina bench MODEL --save base.json` writes one") from None


def require_comparable(baseline: dict, path: str, inputs: Mapping[str, str], counts: list[int],
                       any_machine: bool) -> list[str]:
    """What differs between the machine of the baseline and this one, in words. A LaminaError where that makes a
    comparison idle: another machine (unless `any_machine`), other inputs, or numbers of threads that were not
    measured."""
    here = this_machine()
    differing = [f"{key} {baseline['machine'].get(key)!r} there, {here[key]!r} here" for key in here
                 if baseline["machine"].get(key) != here[key]]
    if differing and not any_machine:
        raise LaminaError(f"{path} was taken on another machine: {'; '.join(differing)}",
                          hint="take a baseline here with --save, or compare all the same with --any-machine")
    if baseline["inputs"] != dict(inputs):
        raise LaminaError(f"{path} was taken with other inputs: {_listed(baseline['inputs'])} there, "
                          f"{_listed(inputs)} here",
                          hint="give the same --dim and -i")
    missing = [count for count in counts if count not in baseline["samples"]]
    if missing:
        raise LaminaError(f"{path} has no times with {', '.join(map(str, missing))} threads, only with "
                          f"{', '.join(map(str, baseline['samples']))}", hint="--threads")
    return differing


def _listed(inputs: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {type}" for name, type in inputs.items()) or "none"
