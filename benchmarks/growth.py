"""How does compile time grow with the size of a graph?

    python benchmarks/growth.py --nodes 2500,10000,40000

A chain of layers (product, activation, addition, mean subtracted) is traced and compiled without a cache, each size in a
fresh process that has compiled a small function before. The chain has few distinct kernels, as deep networks do, so what
counts is the work for each node.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from harness.machine import describe_machine, format_machine
from harness.table import format_megabytes, format_seconds, format_table

CHILD = """
import json, sys, time
import numpy as np
import lamina as lm
sys.path.insert(0, sys.argv[1])
from harness.resident import read_resident

specs = lm.TensorSpec((8, 16)), [lm.TensorSpec((16, 16))] * 8

def chain(layers):
    def network(x, weights):
        for i in range(layers):
            x = x + lm.relu(x @ weights[i % 8]) * np.float32(0.5)
            x = x - lm.mean(x, axis=-1, keepdims=True)
        return x
    return network
lm.compile(chain(1), *specs)
layers, nodes = 1, len(lm.trace(chain(1), *specs).nodes)
each = len(lm.trace(chain(2), *specs).nodes) - nodes
layers += (int(sys.argv[2]) - nodes) // each
start = time.perf_counter()
graph = lm.trace(chain(layers), *specs)
traced = time.perf_counter()
executable = lm.compile(graph)
print(json.dumps({"nodes": len(graph.nodes), "trace": traced - start, "compile": time.perf_counter() - traced,
                  "launches": executable.cost["launches"], "peak": read_resident()["peak"]}))
"""


def measure_growth(nodes: int) -> dict:
    """Seconds and bytes for a graph of about so many nodes, in a process of its own."""
    folder = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run([sys.executable, "-c", CHILD, folder, str(nodes)], env={**os.environ, "LAMINA_CACHE": "off"},
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def row(found: dict) -> list[str]:
    """The cells of one size."""
    return [f"{found['nodes']:,}", f"{found['launches']:,}", format_seconds(found["trace"]),
            format_seconds(found["compile"]), f"{1e6 * found['compile'] / found['nodes']:.0f}",
            format_megabytes(found["peak"])]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="time compilation of larger and larger graphs")
    parser.add_argument("--nodes", default="2500,5000,10000,20000,40000", metavar="A,B", help="sizes")
    arguments = parser.parse_args()
    print(f"# growth\n\n{format_machine(describe_machine())}\n")
    rows = []
    for nodes in map(int, arguments.nodes.split(",")):
        print(f"{nodes} nodes ...", file=sys.stderr, flush=True)
        rows.append(row(measure_growth(nodes)))
    print(format_table(["nodes", "launches", "trace s", "compile s", "us for a node", "peak MB"], rows))


if __name__ == "__main__":
    main()
