"""Which contenders, workloads and settings does the command line ask for?"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .compare import Settings
from .contenders import CONTENDERS
from .machine import allowed_cores
from .process import ContenderSpec
from .workloads import Case, find_cases

DEFAULT_PEERS = "onnxruntime,openvino,torch,inductor"


def make_parser(description: str, workloads: str, contenders: Mapping[str, str] = CONTENDERS,
                peers: str = DEFAULT_PEERS) -> argparse.ArgumentParser:
    """The options that all benchmarks share; `workloads` is the name of the option that selects (models, kernels)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--vs", default=peers, metavar="A,B", help=f"peers (default {peers})")
    parser.add_argument("--subject", default="lamina", choices=contenders,
                        help="whose ratios are shown (default lamina)")
    parser.add_argument(f"--{workloads}", dest="workloads", metavar="A,B", help="only these (default all)")
    parser.add_argument("--threads", default=",".join(str(n) for n in sorted({1, len(allowed_cores())})),
                        metavar="1,2", help="thread counts, each measured by itself (default 1 and all cores)")
    parser.add_argument("--zoo", type=Path, default=os.environ.get("ZOO"), metavar="DIR",
                        help="folder with NAME.onnx and NAME.npz (default: environment ZOO)")
    parser.add_argument("--zoo-source", type=Path, default=os.environ.get("ZOO_SOURCE"), metavar="DIR",
                        help="folder with zoo.py, for the torch contenders (default: environment ZOO_SOURCE)")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=EXECUTABLE",
                        help="interpreter of one contender, if not this one; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    return parser


def add_timing_options(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmarks that time calls."""
    defaults = Settings()
    parser.add_argument("--rounds", type=int, default=defaults.rounds,
                        help=f"turns of each contender, at most doubled while calls are disturbed "
                             f"(default {defaults.rounds})")
    parser.add_argument("--burst", type=float, default=defaults.burst_seconds, metavar="SECONDS",
                        help=f"length of one burst of calls (default {defaults.burst_seconds})")


def parse_settings(arguments: argparse.Namespace) -> Settings:
    """The timing options as settings."""
    return Settings(rounds=arguments.rounds, extra_rounds=arguments.rounds, burst_seconds=arguments.burst)


def parse_contenders(arguments: argparse.Namespace, known: Mapping[str, str] = CONTENDERS) -> list[ContenderSpec]:
    """The subject first, then the peers, each with its interpreter. Exits with a message on an unknown name."""
    names = list(dict.fromkeys([arguments.subject, *filter(None, arguments.vs.split(","))]))
    pythons = dict(item.partition("=")[::2] for item in arguments.python)
    unknown = [name for name in [*names, *pythons] if name not in known]
    if unknown:
        sys.exit(f"unknown contender {', '.join(unknown)}; known: {', '.join(known)}")
    path = (str(arguments.zoo_source),) if arguments.zoo_source else ()
    return [ContenderSpec(name, known[name], pythons.get(name, sys.executable), path) for name in names]


def parse_threads(arguments: argparse.Namespace) -> list[int]:
    """The thread counts. Exits with a message if there are more threads than cores."""
    counts = [int(count) for count in arguments.threads.split(",")]
    available = len(allowed_cores())
    if not all(1 <= count <= available for count in counts):
        sys.exit(f"--threads {arguments.threads}: this process may use 1 to {available} cores")
    return counts


def zoo_cases(arguments: argparse.Namespace, names: list[str], folder: Path) -> tuple[list[Case], list[str]]:
    """The exported workloads, and the names of those that are not there. Exits with a message without a zoo."""
    if arguments.zoo is None:
        sys.exit("--zoo DIR or the environment variable ZOO must name the folder with the exported workloads")
    return find_cases(arguments.zoo, names)


def parse_workloads(arguments: argparse.Namespace, known: list[str]) -> list[str]:
    """The selected names, all of them by default. Exits with a message on an unknown name."""
    names = arguments.workloads.split(",") if arguments.workloads else known
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown workload {', '.join(unknown)}; known: {', '.join(known)}")
    return names
