"""How fast are training steps, against the peers?

    python benchmarks/training.py --vs torch,inductor --threads 1,2

A step is the loss, its gradients and the optimizer over all parameters. Prints Markdown tables: milliseconds per step, ratios lamina /
best peer, memory while stepping beside the planned arena, seconds of tracing and compiling, errors of the first losses, cold start
(with the first step) and peak memory until then. See benchmarks/README.md.
"""

from harness.compare import Result
from harness.options import add_timing_options, make_parser
from harness.report import Grid, quantity_table
from harness.steps import STEPS, write_step
from harness.table import MISSING, format_megabytes, format_seconds
from harness.timing import run_timing
from harness.trainers import TRAINERS


def step_tables(grid: Grid, names: list[str]) -> str:
    """Memory and compile time of the steps."""
    return "\n\n".join((quantity_table(grid, names, "peak RSS MB while stepping (planned arena)", memory),
                        quantity_table(grid, names, "compile s (cold start less a step)", compile_seconds)))


def memory(result: Result) -> str:
    """The running peak of the process, and the arena where the contender plans one."""
    plan = result.planned_memory
    return format_megabytes(result.running_peak) + (f" ({format_megabytes(plan['arena'])})" if plan else "")


def compile_seconds(result: Result) -> str:
    """What a cold start takes beyond one step; for a contender that does not compile, its first step's overhead."""
    return MISSING if result.seconds is None else format_seconds(max(0.0, result.cold_seconds - result.seconds))


def main() -> None:
    """Run from the command line."""
    parser = make_parser("time training steps, lamina and its peers interleaved", "steps", TRAINERS, "torch,inductor")
    add_timing_options(parser)
    run_timing("training", parser.parse_args(), list(STEPS), with_overhead=False, extra_table=step_tables,
               contenders=TRAINERS, find=lambda arguments, names, folder: ([write_step(name, folder) for name in names], []))


if __name__ == "__main__":
    main()
