"""What runs in a contender's process?  `python -m harness.worker`: JSON lines in, JSON lines out.

The first line in says who to be: {"factory": "module:Class", "threads": n, "cores": [..] | null, "cache": folder}.
After the answer come commands, one per line, each answered by one line, {"ok": true, ...} or {"ok": false, "error"}:

    load    case: {name, model, data}        load the model, make the first call, tell seconds and memory
    check                                    compare one call's outputs with the references
    time    seconds, calls                   time single calls for so long or so many
    steady  calls                            memory while the loaded model runs again
    idle    seconds                          processor time while the loaded model waits
    quit
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable

from .resident import read_resident, reset_peak

# A burst starts with untimed calls for this long, at least one: another contender has just used the caches.
WARM_UP_SECONDS = 0.01


class Worker:
    """The state of the process: one contender, at most one loaded case."""

    def __init__(self, factory: str, threads: int, cores: list[int] | None, cache: str) -> None:
        if cores is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)  # before the import: thread pools are sized by what they see then
        module, _, name = factory.partition(":")
        start = time.perf_counter()
        self.contender = getattr(importlib.import_module(module), name)(threads, cache)
        self.import_seconds = time.perf_counter() - start
        self.call: Callable[[], object] | None = None

    def hello(self) -> dict:
        """Who we are."""
        return {"version": self.contender.version, "import_seconds": self.import_seconds}

    def load(self, case: dict) -> dict:
        """Seconds from the model file to the first result, and the memory before and after."""
        import numpy as np

        from .workloads import Case

        self.case = Case(**case)
        with np.load(self.case.data) as data:
            inputs = {name: data[name] for name in data.files if name.startswith("in")}
        self.contender.prepare(self.case, inputs)
        before = read_resident()
        start = time.perf_counter()
        self.call = self.contender.load(self.case, inputs)
        loaded = time.perf_counter()
        self.call()
        first = time.perf_counter()
        after = read_resident()
        return {"load_seconds": loaded - start, "first_call_seconds": first - loaded,
                "resident_before": before["resident"], "resident_after": after["resident"], "peak": after["peak"]}

    def check(self) -> dict:
        """The error of the outputs; None when the data holds no references."""
        import numpy as np

        from .correctness import relative_error

        with np.load(self.case.data) as data:
            names = [name for name in data.files if name.startswith("ref_out")]
            references = [data[name] for name in sorted(names, key=lambda name: int(name.removeprefix("ref_out")))]
        error = relative_error(self.contender.arrays(self.call()), references) if references else None
        return {"relative_error": error, "artifact_bytes": self.contender.artifact_bytes(),
                "planned_memory": self.contender.planned_memory()}

    def time(self, seconds: float, calls: int) -> dict:
        """Single calls: nanoseconds and involuntary context switches of all threads, one pair per call."""
        call, clock = self.call, time.perf_counter_ns
        gc.collect()
        gc.disable()
        try:
            warm_until = clock() + int(WARM_UP_SECONDS * 1e9)
            call()
            while clock() < warm_until:
                call()
            samples, until = [], clock() + int(seconds * 1e9)
            switches = count_preemptions()
            while True:
                start = clock()
                call()
                end = clock()
                now = count_preemptions()
                samples.append((end - start, now - switches))
                switches = now
                if end >= until or len(samples) >= calls:
                    return {"samples": samples}
        finally:
            gc.enable()

    def steady(self, calls: int) -> dict:
        """Memory held and the peak of some further calls, compilation's own peak forgotten where that is possible."""
        gc.collect()
        is_reset = reset_peak()
        for _ in range(calls):
            self.call()
        memory = read_resident()
        return {"resident": memory["resident"], "peak": memory["peak"] if is_reset else None}

    def idle(self, seconds: float) -> dict:
        """Processor time of all threads while nobody calls, some time after the last call."""
        self.call()
        before = time.process_time()
        time.sleep(seconds)
        return {"processor_seconds": time.process_time() - before}


def count_preemptions() -> int:
    """Involuntary context switches of all threads of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def serve() -> None:
    """Answer commands until `quit` or the end of the input."""
    # Libraries print to stdout; the protocol keeps the real one to itself and they get stderr.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(answer: Callable[..., dict], arguments: dict) -> bool:
        try:
            message = {"ok": True, **answer(**arguments)}
        except Exception as error:  # a peer may fail in any way: the table says so and goes on
            traceback.print_exc()
            message = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(message), file=replies, flush=True)
        return message["ok"]

    worker: Worker | None = None

    def start(**arguments: object) -> dict:
        nonlocal worker
        worker = Worker(**arguments)
        return worker.hello()

    if not reply(start, json.loads(sys.stdin.readline())):
        return
    commands = {"load": worker.load, "check": worker.check, "time": worker.time, "steady": worker.steady,
                "idle": worker.idle}
    for line in sys.stdin:
        message = json.loads(line)
        command = message.pop("command")
        if command == "quit":
            return
        reply(commands[command], message)


if __name__ == "__main__":
    serve()
