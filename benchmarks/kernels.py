"""How fast do single kernels run, against the peers, and what share of the machine do they reach?

    python benchmarks/kernels.py --zoo DIR --zoo-source DIR --kernels gemm_1024,softmax_512x3072 --threads 1

Every kernel is an ONNX file of one or a few nodes; products with narrow weights (matvec_int8 and others) are written on
the spot. Prints milliseconds, ratios, and GFLOP/s or GB/s per contender. `--heuristic` compares lamina with itself
instead: schedules by heuristics with the best of those that were measured.
"""

from harness.options import add_timing_options, make_parser
from harness.report import heuristic_table, rate_table
from harness.timing import run_timing
from harness.workloads import KERNELS


def main() -> None:
    """Run from the command line."""
    parser = make_parser("time single kernels, lamina and its peers interleaved", "kernels")
    add_timing_options(parser)
    parser.add_argument("--heuristic", action="store_true", help="how far heuristics are from what measuring finds")
    arguments = parser.parse_args()
    if arguments.heuristic:
        arguments.vs = "lamina-tuned"
    run_timing("kernels", arguments, list(KERNELS), with_overhead=False,
               extra_table=heuristic_table if arguments.heuristic else rate_table)


if __name__ == "__main__":
    main()
