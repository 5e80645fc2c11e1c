"""How fast do whole models run, against the peers?

    python benchmarks/models.py --zoo DIR --zoo-source DIR --vs onnxruntime,openvino,torch,inductor --threads 1,2

Prints Markdown tables: milliseconds per call, ratios lamina / best peer and lamina / onnxruntime with geometric means,
call overhead, errors against the references, cold start and peak memory. See benchmarks/README.md.
"""

from harness.options import add_timing_options, make_parser
from harness.timing import run_timing
from harness.workloads import MODELS


def main() -> None:
    """Run from the command line."""
    parser = make_parser("time whole models, lamina and its peers interleaved", "models")
    add_timing_options(parser)
    run_timing("models", parser.parse_args(), list(MODELS), with_overhead=True)


if __name__ == "__main__":
    main()
