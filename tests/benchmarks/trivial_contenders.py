"""Contenders without a package of their own, for the harness's tests: they sleep, and log when they were busy.

They run in worker processes. BENCHMARK_TEST_LOG names a file that gets one line per call: class, start, end in
nanoseconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import os
import time

import numpy as np


class Doubler:
    """out0 = 2 * in0, after a millisecond."""

    version = "1"
    sleep_seconds = 0.001
    factor = 2.0

    def __init__(self, threads: int, cache: str) -> None:
        print("libraries write to stdout, the protocol must not mind")

    def prepare(self, case, inputs):
        """Nothing to prepare."""

    def load(self, case, inputs):
        """A call that sleeps, computes and logs."""
        name = type(self).__name__

        def call():
            start = time.monotonic_ns()
            time.sleep(self.sleep_seconds)
            result = inputs["in0"] * np.float32(self.factor)
            with open(os.environ["BENCHMARK_TEST_LOG"], "a", encoding="ascii") as log:
                log.write(f"{name} {start} {time.monotonic_ns()}\n")
            return result
        return call

    def arrays(self, result):
        """The only output."""
        return [result]

    def artifact_bytes(self):
        """A made-up size that the result must carry."""
        return 42

    def planned_memory(self):
        """No plan."""
        return None


class Caching(Doubler):
    """Wrong until its cache is filled: a process that finds it filled computes the right thing."""

    def __init__(self, threads: int, cache: str) -> None:
        self.mark = os.path.join(cache, "filled")

    def load(self, case, inputs):
        """Right only when the cache was filled by a process before."""
        self.factor = 2.0 if os.path.exists(self.mark) else 3.0
        with open(self.mark, "w", encoding="ascii"):
            return super().load(case, inputs)


class SlowDoubler(Doubler):
    """The same after five milliseconds."""

    sleep_seconds = 0.005


class WrongDoubler(Doubler):
    """Triples."""

    factor = 3.0


class Refuser(Doubler):
    """Does not support the model."""

    def load(self, case, inputs):
        """Always fails."""
        raise NotImplementedError("operator Frobnicate is not supported")


class Crasher(Doubler):
    """Takes the process down."""

    def load(self, case, inputs):
        """No exception, no answer."""
        os._exit(3)


class Sleeper(Doubler):
    """Never answers."""

    def load(self, case, inputs):
        """Longer than any test's patience."""
        time.sleep(3600)
