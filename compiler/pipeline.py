"""Which passes run on a graph, in which order, and why there?  One table; one loop runs it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable

from .core.errors import CompilerError, LaminaError
from .core.options import Options
from .core.remarks import Remarks
from .graph.graph import Graph
from .passes.canonicalize import canonicalize
from .passes.fuse import fuse
from .passes.gates import split_gates
from .passes.hoist import hoist
from .passes.inline_calls import inline_calls
from .passes.join_products import join_products
from .passes.layout import propagate_layout
from .passes.lift_views import lift_views
from .passes.narrow_weights import narrow_weights
from .passes.padding import separate_padding
from .passes.pack import pack_weights
from .passes.recompute import recompute
from .passes.share_joins import share_joins
from .passes.sink_constants import sink_constants
from .passes.split_transposed import split_transposed
from .plan.horizontal import fuse_horizontally
from .plan.materialize import materialize
from .plan.order import order_for_memory
from .targets.target import Target


Pass = Callable[[Graph, Target, Options, Remarks], Graph]


@dataclass(frozen=True)
class Stage:
    """A pass: its name, what it does, the form of graph that it leaves, the reason for its place in the order, and whether
    it `rounds`: changes numbers because the user's options say so."""

    name: str
    run: Pass
    form: str
    reason: str
    rounds: Callable[[Options], bool] = lambda options: False


STAGES = (
    Stage("inline", lambda g, t, o, r: inline_calls(g), "traced",
          "calls are for people; every later pass sees one flat graph"),
    Stage("sink-constants", lambda g, t, o, r: sink_constants(g), "traced",
          "bodies fold and pack the constants that they use"),
    Stage("canonicalize", lambda g, t, o, r: canonicalize(g), "canonical",
          "folds and simplifies first, so that later passes meet few forms"),
    Stage("join-products", lambda g, t, o, r: join_products(g), "canonical", "before products of inputs leave their loops, and before layouts: together"),
    Stage("hoist", lambda g, t, o, r: hoist(g, r), "canonical", "products that leave a loop take part in all that follows"),
    Stage("layout", lambda g, t, o, r: propagate_layout(g), "canonical",
          "moves transposes out of the way while ops are still single"),
    Stage("split-gates", lambda g, t, o, r: split_gates(g), "canonical", "after layout, which moves products; before bias and inputs fold"),
    Stage("canonicalize-layout", lambda g, t, o, r: canonicalize(g), "canonical",
          "folds what layout left: transposed constants, unit dims"),
    Stage("split-transposed", lambda g, t, o, r: split_transposed(g), "canonical",
          "before its convolutions get their borders"),
    Stage("padding", lambda g, t, o, r: separate_padding(g), "canonical",
          "after the rules that fold pads into convolutions, before groups form"),
    Stage("share-joins", lambda g, t, o, r: share_joins(g), "canonical",
          "while joins are single ops, before their parts are grouped"),
    Stage("lift-views", lambda g, t, o, r: lift_views(g), "canonical",
          "after the rules that move views the other way, before groups form"),
    Stage("narrow-weights", lambda g, t, o, r: narrow_weights(g, t, o, r), "canonical", "last of single ops, so that nothing folds them again", rounds=lambda o: o.weights is not None),
    Stage("fuse", fuse, "fused", "groups what is left; after it no pass looks inside a group"),
    Stage("recompute", lambda g, t, o, r: recompute(g, r) if o.fuse else g, "fused", "groups are known; before weights are packed and memory is placed"),
    Stage("pack", pack_weights, "fused", "constant operands of contractions take their kernel's layout"),
    Stage("materialize", lambda g, t, o, r: materialize(g), "placed",
          "results and joins get memory of their own; late, since it copies"),
    Stage("order", lambda g, t, o, r: order_for_memory(g), "placed", "now that it is known what takes memory"),
    Stage("fuse-horizontal", fuse_horizontally, "placed", "last: by the order it is known what is in memory when"),
)

TUNE = Stage("tune", lambda g, t, o, r: g, "fused",
             "measures groups that stand, before weights take the layout of a schedule's tile")


def run_pipeline(graph: Graph, target: Target, options: Options, remarks: Remarks,
                 watch: Callable[[str, Graph], None] | None = None,
                 after: str | None = None, tuner: Pass | None = None) -> Graph:
    """`graph` through every stage, or those behind the stage `after`. `watch(stage name, graph)` sees each result.
    `tuner` measures schedules, where the user wants that. Errors name the stage."""
    for stage in stages_after(after, tuner):
        try:
            graph = stage.run(graph, target, options, remarks)
            graph.verify()
        except LaminaError:
            raise
        except Exception as error:
            raise CompilerError(f"stage {stage.name!r} failed: {type(error).__name__}: {error}",
                                hint="this is a bug of lamina; `lamina ir --dump DIR` writes what it saw") from error
        if watch is not None:
            watch(stage.name, graph)
    return graph


def stages_with(tuner: Pass | None) -> tuple[Stage, ...]:
    """STAGES, and the tuner among them where there is one."""
    if tuner is None:
        return STAGES
    place = next(i for i, stage in enumerate(STAGES) if stage.name == "pack")
    return (*STAGES[:place], replace(TUNE, run=tuner), *STAGES[place:])


def stages_after(name: str | None, tuner: Pass | None = None) -> tuple[Stage, ...]:
    """The stages behind the one called `name`; all of them for None and for "traced"."""
    stages = stages_with(tuner)
    names = ["traced", *(stage.name for stage in stages)]
    if name == TUNE.name and tuner is None:
        name = "fuse"  # a graph whose schedules were measured when it was written down
    if name is not None and name not in names:
        raise LaminaError(f"no stage is called {name!r}", hint="there are, in this order: " + ", ".join(names))
    return stages[names.index(name):] if name is not None else stages
