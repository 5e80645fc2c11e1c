"""How fast are training steps, against the peers?

    python benchmarks/training.py --vs torch,inductor --threads 1,2

A step is the loss, its gradients and Adam over all parameters. Prints Markdown tables: milliseconds per step, ratios lamina / best peer,
errors of the first losses, cold start (tracing, compiling and the first step) and peak memory. See benchmarks/README.md.
"""

from harness.options import add_timing_options, make_parser
from harness.steps import STEPS, write_step
from harness.timing import run_timing
from harness.trainers import TRAINERS


def main() -> None:
    """Run from the command line."""
    parser = make_parser("time training steps, lamina and its peers interleaved", "steps", TRAINERS, "torch,inductor")
    add_timing_options(parser)
    run_timing("training", parser.parse_args(), list(STEPS), with_overhead=False, contenders=TRAINERS,
               find=lambda arguments, names, folder: ([write_step(name, folder) for name in names], []))


if __name__ == "__main__":
    main()
