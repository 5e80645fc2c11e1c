"""How does a graph become an artifact?  The straight line, one call per arrow."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Callable

from ..runtime.artifact import Artifact
from .codegen.host import frame_layout, host_module
from .codegen.module import kernel_module
from .codegen.object import compile_assembly, compile_objects
from .codegen.support import EXPORTS, support_ir
from .core.options import Options
from .core.remarks import Remarks
from .graph.graph import Graph
from .kernel.text import structural_key
from .manifest import make_manifest
from .pipeline import run_pipeline
from .plan.memory import plan_memory
from .plan.place import place_graph
from .plan.program import Program
from .targets.find import find_target
from .targets.target import Target



def compile_graph(graph: Graph, *, options: Options = Options(), donate: tuple[int, ...] = (), cache=None, profile: bool = False,
                  progress: Callable[[str, int, int], None] | None = None) -> Artifact:
    """Compile `graph` for `options.target`.

    `donate` lists parameters whose memory the results may take. `cache` keeps object code by content: `get(key) -> bytes | None`
    and `put(key, bytes)`. `progress(stage, done, total)` is told how far the compilation is.
    """
    tell = progress or (lambda stage, done, total: None)
    target = find_target(options.target)
    remarks = Remarks()
    stages: dict[str, Graph] = {"traced": graph}

    def watch(name: str, result: Graph) -> None:
        stages[name] = result
        tell(name, 0, 0)
    placed = run_pipeline(graph, target, options, remarks, watch)
    program = place_graph(placed, target, donate)
    program = replace(program, plan=plan_memory(program, options.max_memory))
    modules, entry = emit_program(program, target, profile=profile)
    objects = compile_cached(modules, target, cache, tell)
    texts = {"traced": graph, "canonical": stages["canonicalize-layout"], "fused": stages["fuse"],
             "kernels": lambda: "\n\n".join(map(str, program.kernels)), "program": lambda: str(program),
             "llvm": lambda: "\n\n".join(f"; ---- {n}\n{m}" for n, m in modules.items() if n != "support"),
             "asm": lambda: "\n\n".join(f"# ---- {n}\n{compile_assembly(m, target)}" for n, m in modules.items() if n != "support")}
    texts["remarks"] = lambda: "\n".join(map(str, remarks))
    return Artifact(make_manifest(program, target, entry, frame_layout(program), EXPORTS, modules), objects, list(program.constants), texts)


def emit_program(program: Program, target: Target, entry: str | None = None, profile: bool = False) -> tuple[dict[str, str], str]:
    """LLVM text by module name: a kernel each (named by its content), "host", and "support"; and the entry's prefix."""
    modules: dict[str, str] = {}
    names = []
    for kernel in program.kernels:
        digest = hashlib.blake2b((structural_key(kernel) + target.name).encode(), digest_size=10).hexdigest()
        name = f"lamina_k_{digest}"
        names.append(name)
        if name not in modules:
            modules[name] = kernel_module(kernel, target, name)
    host = host_module(program, target, "lamina_model", names, profile)
    entry = entry or f"lamina_m_{hashlib.blake2b((host + target.name).encode(), digest_size=10).hexdigest()}"
    modules["host"] = host.replace("@lamina_model_", f"@{entry}_")
    modules["support"] = support_ir(target.triple)
    return modules, entry


def compile_cached(modules: dict[str, str], target: Target, cache, tell) -> dict[str, bytes]:
    """Object code by module name; what `cache` has is not compiled."""
    import llvmlite
    objects: dict[str, bytes] = {}
    keys = {name: hashlib.blake2b(f"{llvmlite.__version__}|{target}|{text}".encode(), digest_size=16).hexdigest() for name, text in modules.items()}
    if cache is not None:
        for name, key in keys.items():
            found = cache.get(key)
            if found is not None:
                objects[name] = found
    missing = [n for n in modules if n not in objects]
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        tell("codegen", done, len(missing))
    for name, image in zip(missing, compile_objects([modules[n] for n in missing], target, one_more)):
        objects[name] = image
        if cache is not None:
            cache.put(keys[name], image)
    return {name: objects[name] for name in modules}
