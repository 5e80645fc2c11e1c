"""How does a benchmark of other quantities than call times run?  From the command line over all models to the tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from .compare import Result, Settings
from .options import parse_contenders, parse_threads, parse_workloads, zoo_cases
from .process import ContenderSpec
from .record import Record, ask_versions
from .report import failure_lines, group, quantity_table
from .workloads import MODELS, Case

Measure = Callable[[Case, list[ContenderSpec], int, Settings], list[Result]]


def run_quantities(name: str, arguments: argparse.Namespace, measure: Measure,
                   tables: Sequence[tuple[str, Callable[[Result], str]]], note: str = "") -> None:
    """`measure(case, contenders, threads, settings)` for the selected models, with the last of the thread counts; prints one table
    for each (title, cell) of `tables` to stdout and progress to stderr, writes the JSON as it grows."""
    contenders, settings = parse_contenders(arguments), Settings(rounds=0)
    names = [spec.name for spec in contenders]
    cases, missing = zoo_cases(arguments, parse_workloads(arguments, list(MODELS)), Path())
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        record = Record(name, ask_versions(contenders, Path(folder)), settings)
    print(record.machine_header())
    if note:
        print(note)
    if missing:
        print(f"Not exported, left out: {', '.join(missing)}")
    threads = parse_threads(arguments)[-1]
    for case in cases:
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        record.results += measure(case, contenders, threads, settings)
        record.write(arguments.json)
    grid = group(record.results, threads)
    print(f"\n{threads} thread(s)")
    for title, cell in tables:
        print("\n" + quantity_table(grid, names, title, cell))
    failures = failure_lines([result for result in record.results if result.error])
    if failures:
        print(f"\nWithout a result:\n{failures}")
