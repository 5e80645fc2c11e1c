"""How is a contender's process started, spoken to and ended?"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .workloads import Case

_BENCHMARKS = Path(__file__).resolve().parents[1]


class WorkerError(Exception):
    """The contender failed, with its own words; the process may or may not live on."""


@dataclass(frozen=True)
class ContenderSpec:
    """Who runs where: a name for the tables, `module:Class`, the interpreter, folders for the module search."""

    name: str
    factory: str
    python: str
    path: tuple[str, ...] = field(default=())


class WorkerProcess:
    """One contender in its own process. Use it as a context manager; leaving it ends the process and its children."""

    def __init__(self, spec: ContenderSpec, threads: int, cores: list[int] | None, cache: Path,
                 timeout: float = 120.0) -> None:
        self.spec = spec
        search = [str(_BENCHMARKS), *spec.path, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(search), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        self._log = tempfile.TemporaryFile()
        self._buffer = b""
        # A session of its own, so that compile workers which a contender leaves behind end with it.
        self._process = subprocess.Popen([spec.python, "-m", "harness.worker"], env=environment, start_new_session=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        try:
            hello = self._exchange({"factory": spec.factory, "threads": threads, "cores": cores, "cache": str(cache)},
                                   timeout)
        except BaseException:
            self.end()
            raise
        self.version: str = hello["version"]
        self.import_seconds: float = hello["import_seconds"]

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def load(self, case: Case, timeout: float) -> dict:
        """See `worker.Worker.load`. Raises WorkerError when the contender fails or the time is up."""
        return self._exchange({"command": "load", "case": vars(case)}, timeout)

    def check(self, timeout: float = 120.0) -> dict:
        """See `worker.Worker.check`."""
        return self._exchange({"command": "check"}, timeout)

    def time(self, seconds: float, calls: int, timeout: float = 120.0) -> list[tuple[int, int]]:
        """Pairs of nanoseconds and involuntary context switches, one per call."""
        return [tuple(pair) for pair in
                self._exchange({"command": "time", "seconds": seconds, "calls": calls}, timeout)["samples"]]

    def steady(self, calls: int, timeout: float = 120.0) -> dict:
        """See `worker.Worker.steady`."""
        return self._exchange({"command": "steady", "calls": calls}, timeout)

    def idle(self, seconds: float) -> dict:
        """See `worker.Worker.idle`."""
        return self._exchange({"command": "idle", "seconds": seconds}, seconds + 60)

    def end(self) -> None:
        """Ask the process to quit, then kill what is left of its session. Safe to call twice."""
        if self._log.closed:
            return
        try:
            self._process.stdin.write(b'{"command": "quit"}\n')
            self._process.stdin.close()
            self._process.wait(timeout=2)
        except (OSError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _exchange(self, message: dict, timeout: float) -> dict:
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerError(self._describe_end()) from error
        answer = json.loads(self._read_line(time.monotonic() + timeout, timeout))
        if not answer.pop("ok"):
            raise WorkerError(answer["error"])
        return answer

    def _read_line(self, deadline: float, timeout: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise WorkerError(f"no answer within {timeout:.0f} s")
                chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise WorkerError(self._describe_end())
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _describe_end(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        return f"the process ended with code {code}" + (f": {last[0]}" if last else "")
