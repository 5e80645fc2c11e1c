"""Does every target get code, and code that asks nobody for help?  Objects need lamina's functions alone, and compute
the same."""

import pytest

from lamina.compiler.core.options import Options
from lamina.compiler.driver import compile_graph
from lamina.compiler.ops import REGISTRY
from lamina.compiler.targets.find import all_targets, find_target
from lamina.runtime.elf import read_object
from lamina.runtime.executable import Executable

from ..ops.native import OBJECTS, PARTS, assert_agrees, graph_of
from ..ops.samples import types_of

TARGETS = [t.name for t in all_targets() if t != find_target("host")]  # tests/ops/test_native.py is about the host


def some_samples(letters: str) -> list:
    """A few samples of each op whose name begins with one of `letters`, spread over shapes and dtypes."""
    chosen = []
    for name, cls in sorted(REGISTRY.items()):
        if name[0] in letters and name not in PARTS:
            samples = cls.samples()
            chosen += samples[::max(1, len(samples) // 5)]
    return chosen


def runs_here(target: str) -> bool:
    """Whether this machine has what `target` asks for: levels of one architecture contain the lower ones."""
    host, wanted = find_target("host"), find_target(target)
    return wanted.architecture == host.architecture and set(wanted.required) <= set(host.required)


@pytest.mark.parametrize("letters", ["ab", "c", "def", "ghijkl", "mnopq", "r", "s", "tuvwxyz"])
@pytest.mark.parametrize("target", TARGETS)
def test_objects_need_nothing_from_outside(target, letters):
    samples = some_samples(letters)
    graph, arguments = graph_of(samples)
    artifact = compile_graph(graph, options=Options(target=target), cache=OBJECTS)
    for name, image in artifact.objects.items():
        if name != "support":  # the thread pool stands on the C library
            needed = [s for s in read_object(image).undefined if s and not s.startswith("lamina_")
                      and s != "_GLOBAL_OFFSET_TABLE_"]
            assert not needed, f"{name} needs {', '.join(needed)}"
    if runs_here(target):
        outputs = iter(Executable(artifact)(*arguments))
        for sample in samples:
            assert_agrees(sample, tuple(next(outputs) for _ in sample.op.infer(*types_of(sample.arrays))))
