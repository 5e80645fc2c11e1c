"""How does a benchmark of call times run?  From the command line over all workloads to the tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from .compare import compare
from .narrow import write_narrow_product
from .contenders import CONTENDERS
from .options import parse_contenders, parse_settings, parse_threads, parse_workloads, zoo_cases
from .record import Record, ask_versions
from .report import Grid, failure_lines, group, overhead_line, side_tables, summarize_ratios, time_table
from .workloads import CALL_OVERHEAD, NARROW_PRODUCTS, Case, write_call_overhead


def run_timing(name: str, arguments: argparse.Namespace, known: list[str], with_overhead: bool,
               extra_table: Callable[[Grid, list[str]], str] | None = None, contenders: Mapping[str, str] = CONTENDERS,
               find: Callable[[argparse.Namespace, list[str], Path], tuple[list[Case], list[str]]] = zoo_cases) -> Record:
    """Measure the selected workloads, print tables to stdout and progress to stderr, write the JSON as it grows.

    `find(arguments, names, folder)` gives their cases, which it may write into the folder, and the names of those that
    are not there.
    """
    contenders, thread_counts = parse_contenders(arguments, contenders), parse_threads(arguments)
    names = [spec.name for spec in contenders]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        cases, missing = find(arguments, parse_workloads(arguments, known), Path(folder))
        record = Record(name, ask_versions(contenders, Path(folder)), parse_settings(arguments))
        print(record.header(), flush=True)
        cases += [write_narrow_product(name, Path(folder)) for name in missing if name in NARROW_PRODUCTS]
        missing = [name for name in missing if name not in NARROW_PRODUCTS]
        if missing:
            print(f"Not exported, left out: {', '.join(missing)}", flush=True)
        if with_overhead:
            cases.append(write_call_overhead(Path(folder)))
        for threads in thread_counts:
            for case in cases:
                print(f"{case.name}, {threads} thread(s) ...", file=sys.stderr, flush=True)
                record.results += compare(case, contenders, threads, record.settings)
                grid = group(record.results, threads)
                record.summary[str(threads)] = summarize_ratios(grid, arguments.subject)
                record.write(arguments.json)
            print(f"\n## {threads} thread(s)\n\n{time_table(grid, arguments.subject, names)}")
            if extra_table:
                print(f"\n{extra_table(grid, names)}")
            if any(case.name == CALL_OVERHEAD for case in cases):
                print(f"\n{overhead_line(record.results, threads)}")
            print(f"\n{side_tables(grid, names)}", flush=True)
    failures = failure_lines(record.results)
    if failures:
        print(f"\nWithout a valid result:\n{failures}")
    return record
