"""lamina demo: what does it look like when it works?"""

from __future__ import annotations

import textwrap
import time

from ..parser import FAILED, OK

SUMMARY = "compile and run a model that is built in: handwritten digits"
EXAMPLES = """
lamina demo
lamina demo --images 16
lamina demo --json
"""
GREYS = 16  # the images hold 0..16, the model takes 0..1
REQUIRED = 0.95  # accuracy below which something is wrong
MIN_SECONDS = 0.3


def configure(parser) -> None:
    """The arguments of the command."""
    parser.add_argument("--images", type=int, default=8, metavar="N", help="how many digits to show (default 8)")


def run(arguments, console) -> int:
    """Compile digits.onnx, classify the test images, say what was compiled and how fast it is."""
    import numpy as np
    graph, images, labels = load()
    executable, seconds = build(graph, console)
    x = images.astype(np.float32) / GREYS
    (logits,) = executable(x)
    predicted = logits.argmax(1)
    accuracy = float((predicted == labels).mean())
    data = {"images": len(images), "accuracy": accuracy, "compile_seconds": seconds, "onnx_nodes": onnx_nodes(),
            "graph_nodes": sum(1 for n in graph.nodes if n.op.name != "constant"),
            "kernels": groups(executable), "arena_bytes": executable.memory.arena_bytes, "lower_bound": executable.memory.lower_bound,
            "weight_bytes": executable.cost["weight_bytes"], "extent": executable.signature.symbols["batch"][1],
            "largest_difference": float(np.abs(logits - reference(graph, x)).max()),
            "seconds_per_image": times(graph, executable, x)}
    if console.json:
        console.result("demo", data)
    else:
        show(data, images, labels, predicted, min(arguments.images, len(images)), console)
    return OK if accuracy >= REQUIRED else FAILED


# ---- the model -------------------------------------------------------------------------------------------------------
def folder():
    """Where the demo's model and images lie."""
    from importlib.resources import files
    return files(__package__.rpartition(".")[0]) / "demo"


def load():
    """The graph of the model for batches of up to 450, and the test set: uint8 images [450, 1, 8, 8] and labels [450]."""
    import io

    import numpy as np
    from ...onnx import load as load_onnx
    with np.load(io.BytesIO((folder() / "digits.npz").read_bytes())) as data:
        images, labels = data["images"], data["labels"]
    return load_onnx((folder() / "digits.onnx").read_bytes(), dims={"batch": (1, len(images))}), images, labels


def build(graph, console):
    """The model compiled afresh, so that its time is told, and the seconds that it took."""
    from ....compiler.driver import compile_graph
    from ....runtime.executable import Executable
    begun = time.perf_counter()
    with console.progress("compiling the digits model") as tell:
        executable = Executable(compile_graph(graph, progress=tell))
    return executable, time.perf_counter() - begun


def onnx_nodes() -> list[str]:
    """The operators of the ONNX file, in order."""
    import onnx
    return [node.op_type for node in onnx.load_from_string((folder() / "digits.onnx").read_bytes()).graph.node]


def groups(executable) -> list[dict]:
    """The launches of a run: which operators each kernel computes, and the nodes of the ONNX file that they come from."""
    from ....compiler.ops.control import Fused
    origins: dict[tuple[str, str], list[str]] = {}
    for node in executable.artifact.texts["fused"].nodes:
        if isinstance(node.op, Fused):
            names = dict.fromkeys(inner.location.name for inner in node.op.body.nodes if inner.location.name)
            origins[str(node.location), node.op.label] = list(names)
    return [{"kernel": launch["kernel"], "operators": launch["label"], "nodes": origins.get((launch["location"], launch["label"]), [])}
            for launch in executable.kernels]


def reference(graph, x):
    """What NumPy computes: the graph run operator by operator with the ops' own references."""
    return graph.evaluate(x)[0]


# ---- time ------------------------------------------------------------------------------------------------------------
def times(graph, executable, x) -> dict[str, float]:
    """Seconds for one image, in one call with all images, by contender."""
    from ..timing import measure, summarize
    contenders = {"lamina": lambda: executable(x)}
    peer = onnxruntime_call(x)
    if peer is not None:
        contenders["onnxruntime"] = peer
    found = {name: summarize(samples.times)["median"] for name, samples in measure(contenders, MIN_SECONDS).items()}
    begun = time.perf_counter()
    reference(graph, x)
    found["numpy"] = time.perf_counter() - begun
    return {name: found[name] / len(x) for name in ("lamina", "numpy", "onnxruntime") if name in found}


def onnxruntime_call(x):
    """A call that classifies with onnxruntime on as many threads as lamina uses, or None where it is not installed."""
    import importlib.util

    from .bench import available_threads
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = available_threads(), 1, 3
    session = onnxruntime.InferenceSession((folder() / "digits.onnx").read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": x})


# ---- showing ---------------------------------------------------------------------------------------------------------
def show(data: dict, images, labels, predicted, count: int, console) -> None:
    """The whole story on standard output."""
    from ..console import format_bytes, format_seconds
    out = console.print
    kernels = data["kernels"]
    out(f"A network for handwritten digits, 8 x 8 pixels, from an ONNX file with {len(data['onnx_nodes'])} nodes:")
    out(textwrap.fill(" ".join(data["onnx_nodes"]), 100, initial_indent="  ", subsequent_indent="  "))
    out(f"compiled to native code in {format_seconds(data['compile_seconds'])}.")
    out()
    for line in pictures(images, labels, predicted, count, console.is_terminal):
        out(line)
    right = round(data["accuracy"] * data["images"])
    out(f"{right} of {data['images']} test images are right ({data['accuracy']:.1%}).")
    out()
    out(console.bold(f"{data['graph_nodes']} operators became {len(kernels)} kernels"))
    width = max(len(kernel["operators"].replace("+", " + ")) for kernel in kernels)
    for number, kernel in enumerate(kernels, 1):
        out(f"  {number:2}. {kernel['operators'].replace('+', ' + ').ljust(width)}   {' '.join(kernel['nodes'])}".rstrip())
    out()
    out(console.bold("Memory"))
    out(f"  arena {data['arena_bytes']:,} bytes for batches of up to {data['extent']}; the lower bound is {data['lower_bound']:,}")
    out(f"  weights {format_bytes(data['weight_bytes'])}")
    out()
    out(console.bold(f"Time for one image, {data['images']} in a call"))
    per_image = data["seconds_per_image"]
    words = {"lamina": "lamina", "numpy": "NumPy (the same graph, operator by operator)", "onnxruntime": "onnxruntime"}
    width = max(len(words[name]) for name in per_image)
    for name, seconds in per_image.items():
        ratio = seconds / per_image["lamina"]
        out(f"  {words[name].ljust(width)}  {format_seconds(seconds):>8}" + ("" if name == "lamina" else f"   {ratio:.1f} x lamina's"))
    if "onnxruntime" not in per_image:
        out("  onnxruntime is not installed: pip install onnxruntime puts it beside")
    out(f"The largest difference from NumPy is {data['largest_difference']:.1e}.")


def pictures(images, labels, predicted, count: int, has_color: bool, across: int = 8):
    """Lines that show the first wrong digit, if any, and others: two pixels a character as upper half blocks, or in shades of ASCII."""
    import numpy as np
    wrong = np.flatnonzero(predicted != labels)[:1].tolist()
    chosen = ([i for i in range(len(images)) if i not in wrong][:max(0, count - len(wrong))] + wrong)[:count]
    for start in range(0, len(chosen), across):
        row = chosen[start:start + across]
        drawn = [picture(images[i, 0], has_color) for i in row]
        for parts in zip(*drawn):
            yield "   ".join(parts)
        yield "   ".join(caption(predicted[i], labels[i]).center(len(images[i, 0, 0]) * (1 if has_color else 2)) for i in row)
        yield ""


def caption(predicted: int, label: int) -> str:
    """What the model said, and what it is where that is not the same."""
    return str(predicted) if predicted == label else f"{predicted} (is {label})"


def picture(image, has_color: bool) -> list[str]:
    """An image of greys 0..16 as lines of text, bright strokes on dark."""
    if not has_color:
        shades = " .:-=+*#@"
        return ["".join(shades[int(v) * (len(shades) - 1) // GREYS] * 2 for v in row) for row in image]
    lines = []
    for upper, lower in zip(image[::2], image[1::2]):
        cells = [f"\x1b[38;5;{grey(u)};48;5;{grey(low)}m▀" for u, low in zip(upper, lower)]
        lines.append("".join(cells) + "\x1b[0m")
    return lines


def grey(value: int) -> int:
    """The color of the 256-color palette for a grey level: 232 is nearly black, 255 nearly white."""
    return 232 + int(value) * 23 // GREYS
