"""Where do the results go?  One JSON document per run, rewritten after every workload, so a broken run leaves data."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .compare import Result, Settings
from .machine import describe_machine, format_machine
from .process import ContenderSpec, WorkerError, WorkerProcess

FORMAT_VERSION = 1


@dataclass
class Record:
    """Everything one run knows: machine, versions, method, results."""

    benchmark: str
    versions: dict[str, str]
    settings: Settings
    machine: dict[str, object] = field(default_factory=describe_machine)
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))
    results: list[Result] = field(default_factory=list)
    summary: dict[str, dict] = field(default_factory=dict)

    def machine_header(self) -> str:
        """Machine and versions as lines for people."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"# {self.benchmark}, {self.started}\n\n{format_machine(self.machine)}\n{versions}"

    def header(self) -> str:
        """Machine, versions and the method of timing as lines for people."""
        low, high = (1e3 * gap for gap in self.settings.gap_seconds)
        return (f"{self.machine_header()}\n"
                f"One process per contender, one active at a time, {self.settings.rounds} interleaved rounds of "
                f"{self.settings.burst_seconds:g} s after gaps of {low:.0f}-{high:.0f} ms,\nmore while calls are "
                f"disturbed; medians of the calls without involuntary context switches; pinned to as many cores as "
                f"threads. f32.\n* fastest, ~ too few undisturbed calls (the less disturbed half), ! wrong output.")

    def write(self, path: Path | None) -> None:
        """Replace the file, if one is asked for."""
        if path is None:
            return
        document = {
            "format_version": FORMAT_VERSION, "benchmark": self.benchmark, "started": self.started,
            "machine": self.machine, "versions": self.versions, "settings": asdict(self.settings),
            "summary": self.summary, "results": [result.as_json() for result in self.results]}
        temporary = path.with_name(path.name + ".partial")
        temporary.write_text(json.dumps(document, indent=1) + "\n")
        os.replace(temporary, path)


def ask_versions(contenders: list[ContenderSpec], cache: Path) -> dict[str, str]:
    """The version of every contender, or why it cannot be imported."""
    versions = {}
    for spec in contenders:
        try:
            with WorkerProcess(spec, threads=1, cores=None, cache=cache) as worker:
                versions[spec.name] = worker.version
        except WorkerError as error:
            versions[spec.name] = f"unavailable ({error})"
    return versions
