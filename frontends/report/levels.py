"""What does a model look like at each level of its compilation?  Computed on demand, kept where a later level fails."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import Callable

from ...compiler.core.errors import LaminaError
from ...compiler.core.options import Options
from ...compiler.core.remarks import Remarks
from ...compiler.graph.graph import Graph, Node, walk
from ...compiler.ops.control import Fused
from ...compiler.plan.program import Launch, walk_launches
from ...compiler.plan.work import launch_places

GRAPHS = ("traced", "canonical", "fused")
STAGES = (*GRAPHS, "kernels", "program", "llvm", "asm")


class Levels:
    """The levels of one compilation of `graph`. A level that fails raises when it is asked for; those before it stay.

    `progress(stage, done, total)` is told how far the work is.
    """

    def __init__(self, graph: Graph, options: Options = Options(),
                 progress: Callable[[str, int, int], None] | None = None):
        self.traced = graph
        self.options = options
        self.remarks = Remarks()
        self._tell = progress or (lambda stage, done, total: None)

    # ---- graphs ------------------------------------------------------------------------------------------------------
    @cached_property
    def target(self):
        from ...compiler.targets.find import find_target
        return find_target(self.options.target)

    @cached_property
    def _passes(self) -> tuple[dict[str, Graph], Exception | None]:
        from ...compiler.driver import make_tuner
        from ...compiler.pipeline import run_pipeline
        found: dict[str, Graph] = {}
        tuner = None
        if self.options.tune is not None:
            from ...runtime.cache import default_cache
            from ..tuning import bench_for
            cache = default_cache()
            tuner = make_tuner(bench_for(self.options.target, cache), self.target, self.options, cache, self._tell)

        def watch(name: str, graph: Graph) -> None:
            found[name] = graph
            self._tell(name, len(found), 0)
        try:
            run_pipeline(self.traced, self.target, self.options, self.remarks, watch, tuner=tuner)
        except LaminaError as error:
            return found, error
        return found, None

    @property
    def passes(self) -> dict[str, Graph]:
        """The graph after each pass that succeeded, in order."""
        return self._passes[0]

    @property
    def error(self) -> Exception | None:
        """What stopped the passes, or None."""
        return self._passes[1]

    def after(self, name: str) -> Graph:
        """The graph after the pass called `name`."""
        from ...compiler.pipeline import STAGES as passes
        names = [stage.name for stage in passes]
        if name == "tune" and self.options.tune is None:
            raise LaminaError("nothing is tuned", hint="--tune SECONDS, or Options(tune=), measures schedules")
        if name not in [*names, "tune"]:
            raise LaminaError(f"no pass is called {name!r}", hint="there are, in this order: " + ", ".join(names))
        if name not in self.passes:
            raise self.error
        return self.passes[name]

    def graph(self, stage: str) -> Graph:
        """The graph of a stage of `GRAPHS`: "canonical" is the last of its form, "fused" the first."""
        from ...compiler.pipeline import STAGES as passes
        if stage == "traced":
            return self.traced
        names = [p.name for p in passes if p.form == stage]
        return self.after(names[0] if stage == "fused" else names[-1])

    # ---- what has no values any more --------------------------------------------------------------------------------
    @cached_property
    def program(self):
        """The Program, with its memory plan."""
        from dataclasses import replace
        from ...compiler.plan.memory import plan_memory
        from ...compiler.plan.place import place_graph
        if self.error is not None:
            raise self.error
        placed = list(self.passes.values())[-1]
        program = place_graph(placed, self.target)
        program = replace(program, plan=plan_memory(program, self.options.max_memory))
        self._tell("place", 0, 0)
        return program

    @cached_property
    def modules(self) -> dict[str, str]:
        """LLVM text by module: one for each distinct kernel, "host", "support"."""
        from ...compiler.driver import module_texts
        modules = dict(module_texts(self.program, self.target))
        self._tell("llvm", 0, 0)
        return modules

    @cached_property
    def assembly(self) -> dict[str, str]:
        """Assembly by module, without that of the runtime's support code."""
        from ...compiler.codegen.object import compile_assembly
        modules = {name: text for name, text in self.modules.items() if name != "support"}
        out = {}
        for name, text in modules.items():
            out[name] = compile_assembly(text, self.target)
            self._tell("asm", len(out), len(modules))
        return out

    def sections(self, stage: str) -> list[tuple[str, str]]:
        """A stage as (title, text): a graph and the program are one section, kernels and modules one each."""
        if stage in GRAPHS:
            return [(stage, str(self.graph(stage)))]
        if stage == "program":
            return [("program", str(self.program))]
        if stage == "kernels":
            return [(kernel.name, str(kernel)) for kernel in self.program.kernels]
        if stage == "llvm":
            return [(name, text) for name, text in self.modules.items() if name != "support"]
        if stage == "asm":
            return list(self.assembly.items())
        raise LaminaError(f"no stage is called {stage!r}", hint="there are " + ", ".join(STAGES))

    def text(self, stage: str) -> str:
        """The whole text of a stage."""
        sections = self.sections(stage)
        if stage in GRAPHS or stage == "program":
            return sections[0][1]
        mark = {"kernels": "", "llvm": "; ---- ", "asm": "# ---- "}[stage]
        return "\n".join(f"{mark}{title}\n{text}" if mark else text for title, text in sections)

    def kernel_modules(self) -> list[str]:
        """For each kernel of the program the name of its LLVM module; kernels that do the same share one."""
        from ...compiler.codegen.module import kernel_module
        by_text = {text.replace(f"@{name}", "@kernel"): name for name, text in self.modules.items()}
        return [by_text[kernel_module(kernel, self.target, "kernel")] for kernel in self.program.kernels]

    @cached_property
    def launches(self) -> list[tuple[Launch, Node | None]]:
        """Every launch of the program, in order, with the group that it computes (None for the copies and borders of
        placing)."""
        waiting: dict[int, deque[Node]] = {}
        for node in walk(list(self.passes.values())[-1]):
            if isinstance(node.op, Fused):
                waiting.setdefault(id(node.op.body), deque()).append(node)  # equal groups may share their graph
        found = []
        for launch in walk_launches(self.program.steps):
            nodes = waiting.get(id(launch.group.body) if launch.group is not None else None)
            found.append((launch, nodes.popleft() if nodes else None))
        return found

    @cached_property
    def fused_locations(self) -> dict[int, list[str]]:
        """For each kernel number the locations of the nodes that it computes, from its launches and the groups behind
        them."""
        out: dict[int, dict[str, None]] = {}
        for launch, _ in self.launches:
            out.setdefault(launch.kernel, {}).update(dict.fromkeys(map(str, launch_places(launch))))
        return {kernel: list(locations) for kernel, locations in out.items()}
