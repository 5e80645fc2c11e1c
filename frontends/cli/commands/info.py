"""lamina info: what is this model?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..parser import OK, add_model_options

SUMMARY = "what a model is: inputs, outputs, dims, operators, parameters, operations, bytes"
EXAMPLES = """
lamina info model.onnx
lamina info model.onnx --dim batch=8          the operations of one run for this batch
lamina info model.onnx | grep input
lamina info model.onnx --json | jq .flops
"""


def configure(parser) -> None:
    """The arguments of the command."""
    add_model_options(parser)


def run(arguments, console) -> int:
    """Print what is known without compiling."""
    data = artifact_facts(arguments.model) if arguments.model.endswith(".lam") else graph_facts(arguments, console)
    if console.json:
        console.result("info", data)
    else:
        print_facts(data, console)
    return OK


def graph_facts(arguments, console) -> dict:
    """What a graph tells: JSON data."""
    from ....compiler.core.dims import nominal, symbols_of
    from ....compiler.graph.graph import walk
    from ....compiler.ops.constant import Constant
    from ....compiler.ops.control import graph_flops
    from ...report.json import dim_data, type_data
    from ..model import load_graph
    graph = load_graph(arguments, console)
    constants = {id(n.op.array): n.op.array for n in walk(graph) if isinstance(n.op, Constant)}
    flops = graph_flops(graph)
    data = {"model": arguments.model, "kind": "graph", "name": graph.name,
            "inputs": [{"name": name, **type_data(p.type), "text": str(p.type)} for name, p in zip(graph.input_names, graph.params)],
            "outputs": [{"name": name, **type_data(r.type), "text": str(r.type)} for name, r in zip(graph.output_names, graph.results)],
            "dims": {s.name: s.facts() for s in graph.symbols},
            "operators": dict(Counter(n.op.name for n in walk(graph) if not isinstance(n.op, Constant)).most_common()),
            "parameters": sum(a.size for a in constants.values() if a.dtype.kind in "fV"),
            "weight_bytes": sum(a.nbytes for a in constants.values()),
            "flops": dim_data(flops)}
    if symbols_of(flops):
        data["flops_at"] = {"extents": {s.name: nominal_extent(s) for s in symbols_of(flops)}, "flops": nominal(flops)}
    if arguments.model.endswith(".onnx"):
        data["onnx"] = onnx_facts(arguments.model)
    return data


def nominal_extent(symbol) -> int:
    """The extent of a symbol that figures for a typical run are given at."""
    from ....compiler.core.dims import DimExpr, nominal
    return nominal(DimExpr((((symbol,), 1),)))


def onnx_facts(path: str) -> dict:
    """What only the ONNX file tells: who wrote it, versions, its own operators."""
    from ...onnx.model import read_model
    model = read_model(path)
    proto = model.proto
    return {"producer": f"{proto.producer_name} {proto.producer_version}".strip(), "ir_version": proto.ir_version,
            "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
            "operators": dict(Counter(n.op_type for n in proto.graph.node).most_common()), "file_bytes": Path(path).stat().st_size}


def artifact_facts(path: str) -> dict:
    """What a compiled artifact tells; it need not run on this machine."""
    from ....runtime.package import load_artifact
    manifest = load_artifact(path, verify=False, runnable=False).manifest
    memory = manifest["memory"]
    return {"model": path, "kind": "artifact", "name": manifest["name"], "target": manifest["target"]["name"],
            "inputs": [_port(p) for p in manifest["inputs"]], "outputs": [_port(p) for p in manifest["outputs"]],
            "state": [manifest["inputs"][row["input"]]["name"] for row in manifest.get("state", ())],
            "dims": {name: fact_text(fact) for name, fact in manifest["symbols"].items()},
            "operators": dict(Counter(launch["label"] for launch in manifest["launches"]).most_common()),
            "weight_bytes": manifest["cost"]["weight_bytes"], "arena_bytes": memory["arena_bytes"], "lower_bound": memory["lower_bound"],
            "kernels": manifest["cost"]["kernels"], "launches": manifest["cost"]["launches"]}


def _port(port: dict) -> dict:
    return {"name": port["name"], "dtype": port["dtype"], "shape": port["shape"],
            "text": f"{port['dtype']}[{', '.join(map(str, port['shape']))}]"}


def fact_text(fact) -> str:
    """A dim's facts as they are typed: [lower, upper or None, multiple] as lower..upper%multiple."""
    lower, upper, multiple = fact
    return f"{lower}..{'' if upper is None else upper}" + (f"%{multiple}" if multiple > 1 else "")


def print_facts(data: dict, console) -> None:
    """One fact a line, `key: value`."""
    from ..console import format_bytes
    out = console.print
    out(f"model: {data['name']} ({data['model']})")
    for key in ("target",):
        if key in data:
            out(f"{key}: {data[key]}")
    for key, title in (("inputs", "input"), ("outputs", "output")):
        for port in data[key]:
            out(f"{title}: {port['name']} {port['text']}")
    for name in data.get("state", ()):
        out(f"state: {name}")
    for name, fact in data["dims"].items():
        out(f"dim: {name}={fact}")
    if "onnx" in data:
        onnx = data["onnx"]
        out(f"onnx: IR {onnx['ir_version']}, " + ", ".join(f"{d} {v}" for d, v in onnx["opsets"].items())
            + (f", from {onnx['producer']}" if onnx["producer"] else ""))
        for name, count in onnx["operators"].items():
            out(f"onnx operator: {name} {count}")
    for name, count in data["operators"].items():
        out(f"{'kernel' if data['kind'] == 'artifact' else 'operator'}: {name} {count}")
    if "parameters" in data:
        out(f"parameters: {data['parameters']}")
    out(f"weights: {data['weight_bytes']} bytes ({format_bytes(data['weight_bytes'])})")
    if "flops" in data:
        out(f"flops: {data['flops']}")
    if "flops_at" in data:
        at = data["flops_at"]
        out(f"flops at {', '.join(f'{k}={v}' for k, v in at['extents'].items())}: {at['flops']}")
    if "arena_bytes" in data:
        out(f"arena: {data['arena_bytes']} bytes ({format_bytes(data['arena_bytes'])}), lower bound {data['lower_bound']} bytes")
        out(f"kernels: {data['kernels']} in {data['launches']} launches")
