"""How does a graph become an artifact?  The straight line, one call per arrow."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Callable, Iterator

from ..runtime.artifact import Artifact
from .check import Checker, Load
from .codegen.host import frame_layout, host_module
from .codegen.module import kernel_module
from .codegen.object import ObjectCompiler, compile_assembly
from .codegen.support import EXPORTS, support_ir
from .core.collection import collection_paused
from .core.errors import BudgetError, LaminaError
from .core.options import Options
from .core.remarks import Remarks
from .graph.graph import Graph
from .manifest import make_manifest
from .observer import Dump, Observer, Observers, Writer
from .pipeline import STAGES, Pass, run_pipeline, stages_after
from .plan.memory import plan_memory
from .plan.place import place_graph
from .plan.program import Program
from .schedule.tuner import Bench, Tuner
from .targets.find import find_target
from .targets.target import Target
from .transforms.remat import rematerializations

SURE = 0.8  # of the memory that is expected; a graph that takes more than is allowed even so is not tried


@collection_paused()
def compile_graph(graph: Graph, *, options: Options = Options(), donate: tuple[int, ...] = (), cache=None,
                  progress: Callable[[str, int, int], None] | None = None,
                  after: str | None = None, write: Writer | None = None, load: Load | None = None,
                  bench: Bench | None = None) -> Artifact:
    """Compile `graph` for `options.target`.

    `donate` lists parameters whose memory the results may take. `cache` keeps object code by content: `get(key) ->
    bytes | None` and `put(key, bytes)`. `progress(stage, done, total)` is told how far the compilation is. `after`
    names the pass that left `graph`: those behind it run. `write` is given every stage as text (`options.dump`), `load`
    makes an artifact callable for `options.check`, `bench` measures for `options.tune`.
    """
    tell = progress or (lambda stage, done, total: None)
    target = find_target(options.target)
    remarks = Remarks()
    observers = Observers([Dump(write, remarks)] * (write is not None)
                          + [Checker(load, remarks, [s.name for s in STAGES if s.rounds(options)])] * (options.check == "each"))
    observers.graph("traced", graph)
    stages: dict[str, Graph] = {}

    def watch(name: str, result: Graph) -> None:
        stages[name] = result
        tell(name, 0, 0)
        observers.graph(name, result)
    tuner = make_tuner(bench, target, options, cache, tell)
    placed = run_pipeline(graph, target, options, remarks, watch, after, tuner)
    try:
        program = planned(placed, target, options, donate)
    except BudgetError as error:
        program = fitted(stages.get("canonicalize-layout"), target, options, remarks, watch, donate, tuner)
        if program is None:
            raise error
    observers.program(program)
    artifact = compile_program(program, target, cache=cache, progress=tell, observer=observers)
    graphs = {"traced": graph, "canonical": stages.get("canonicalize-layout", graph),
              "fused": stages.get("fuse", graph)}
    if tuner is not None:
        artifact.manifest["tuning"] = {"measured": tuner.measured, "left": tuner.left}
    artifact.texts = {**graphs, **artifact.texts, "remarks": lambda: "\n".join(map(str, remarks))}
    observers.artifact(artifact)
    return artifact


def planned(placed: Graph, target: Target, options: Options, donate: tuple[int, ...]) -> Program:
    """The program of a graph of groups, with its memory plan; BudgetError over `options.max_memory`."""
    program = place_graph(placed, target, donate)
    return replace(program, plan=plan_memory(program, options.max_memory)).verify()


def fitted(graph: Graph | None, target: Target, options: Options, remarks: Remarks,
           watch: Callable[[str, Graph], None], donate: tuple[int, ...], tuner: Pass | None) -> Program | None:
    """A program that fits the memory because it computes values again, with the least work that does; None where none
    fits."""
    taken: list[float] = []  # arenas that were too large, for each byte that lives in their graphs
    for choice in rematerializations(graph, options.max_memory) if graph is not None else ():
        if len(taken) > 1 and SURE * min(taken) * choice.live > options.max_memory:
            continue
        own = Remarks()
        try:
            placed = run_pipeline(choice.graph, target, options, own, watch, "canonicalize-layout", tuner)
            program = planned(placed, target, options, donate)
        except BudgetError as error:
            remarks.add("remat", graph.name, False, f"over the budget still: {choice.reason}")
            taken.append(error.needed / choice.live)
            continue
        watch("canonicalize-layout", choice.graph)
        remarks.add("remat", graph.name, True, choice.reason)
        remarks.items += own.items
        return program
    return None


def make_tuner(bench: Bench | None, target: Target, options: Options, cache=None,
               progress: Callable[[str, int, int], None] = lambda stage, done, total: None) -> Tuner | None:
    """The pass that measures schedules; None where the options do not ask for it."""
    if options.tune is None:
        return None
    if bench is None:
        raise LaminaError("Options.tune asks for measurements, and nothing measures here",
                          hint="lamina.compile does; compile_graph takes a bench")

    def compile_groups(graph: Graph) -> Artifact:
        """They run in the order in which they stand."""
        for stage in stages_after("fuse"):
            if stage.name != "order":
                graph = stage.run(graph, target, options, Remarks())
        return compile_program(planned(graph, target, Options(), ()), target, cache=cache)
    return Tuner(bench, compile_groups, progress)


def compile_program(program: Program, target: Target, *, cache=None,
                    observer: Observer = Observer(),
                    progress: Callable[[str, int, int], None] = lambda stage, done, total: None) -> Artifact:
    """The artifact of a program that has its memory plan; arguments as those of `compile_graph`."""
    modules: dict[str, str] = {}
    with ObjectCompiler(target, cache, progress) as compiler:
        for name, text in module_texts(program, target):
            modules[name] = text
            compiler.add(name, text)
        observer.modules({name: text for name, text in modules.items() if name != "support"})
        objects = compiler.finish()
    entry = entry_of(modules["host"])
    texts = {"kernels": lambda: "\n\n".join(map(str, program.kernels)), "program": lambda: str(program),
             "llvm": lambda: "\n\n".join(f"; ---- {n}\n{m}" for n, m in modules.items() if n != "support"),
             "asm": lambda: "\n\n".join(f"# ---- {n}\n{compile_assembly(m, target)}"
                                        for n, m in modules.items() if n != "support")}
    manifest = make_manifest(program, target, entry, frame_layout(program), EXPORTS, modules)
    return Artifact(manifest, objects, list(program.constants), texts)


def module_texts(program: Program, target: Target) -> Iterator[tuple[str, str]]:
    """(name, LLVM text) of each module: "support", the kernels, "host". Names that are exported come from the text's
    hash, so that equal kernels of two models are one symbol."""
    yield "support", support_ir(target.triple)
    names: list[str] = []
    known: set[str] = set()
    for kernel in program.kernels:
        text = kernel_module(kernel, target, "lamina_k")
        name = f"lamina_k_{blake2b(text.encode(), digest_size=10).hexdigest()}"
        names.append(name)
        if name not in known:
            known.add(name)
            yield name, text.replace("@lamina_k", f"@{name}")
    host = host_module(program, target, "lamina_model", names)
    entry = f"lamina_m_{blake2b((host + target.name).encode(), digest_size=10).hexdigest()}"
    yield "host", host.replace("@lamina_model_", f"@{entry}_")


def entry_of(host: str) -> str:
    """The prefix of the entry points that a host module defines."""
    return host[host.index("@lamina_m_") + 1:host.index("_arena(")]
