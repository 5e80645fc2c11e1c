"""Do passes give the text that is written in the file?  `pytest --bless` rewrites the expected texts.

A file names its pass in the first line, `# pass: canonicalize`. Cases follow, each of a line `# case: title`, a graph,
a line `# expected:`, and the graph that the pass makes of it. Beside the text, each case is run before and after the
pass on the same arrays, and its work may not grow.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lamina.compiler.core.options import Options
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.graph.graph import Graph
from lamina.compiler.graph.text import parse_graph, print_graph
from lamina.compiler.passes.canonicalize import canonicalize
from lamina.compiler.passes.lift_views import lift_views
from lamina.compiler.plan.horizontal import fuse_horizontally
from lamina.compiler.targets.find import find_target

from ..graph.work import random_arrays, work

HERE = Path(__file__).parent

#: The passes that files may name: each takes a graph and gives one.
PASSES = {"canonicalize": canonicalize, "lift_views": lift_views,
          "fuse_horizontally": lambda graph: fuse_horizontally(graph, find_target("x86-64-v3"), Options(), Remarks())}


@dataclass
class Case:
    """One input with the text expected of it; `start` and `end` are where that text stands in the file."""

    path: Path
    title: str
    source: str
    expected: str
    start: int
    end: int


_CASE = re.compile(r"^# case: ([^\n]*)\n(.*?)^# expected:\n(.*?)(?=^# case: |\Z)", re.MULTILINE | re.DOTALL)


def read_cases(path: Path) -> tuple[str, list[Case]]:
    """The name of a file's pass, and its cases."""
    text = path.read_text(encoding="utf-8")
    header = re.match(r"# pass: (\w+)\n", text)
    assert header, f"{path.name} begins with a line such as '# pass: canonicalize'"
    cases = []
    for found in _CASE.finditer(text):
        cases.append(Case(path, found[1], found[2], found[3].rstrip("\n") + "\n", found.start(3), found.end(3)))
    assert cases and len(cases) == text.count("# case: "), f"{path.name}: each case needs a graph and '# expected:'"
    return header[1], cases


FILES = sorted(HERE.glob("**/*.lam"))
ALL = [pytest.param(name, case, id=f"{path.stem}-{case.title}")
       for path in FILES for name, cases in [read_cases(path)] for case in cases]


@pytest.mark.parametrize("name, case", ALL)
def test_file(name, case, request):
    before = parse_graph(case.source).verify()
    after = PASSES[name](before).verify()
    assert_same_meaning(before, after)
    assert work(after) <= work(before), "the pass made the graph costlier"
    text = print_graph(after)
    if text != case.expected:
        if not request.config.getoption("--bless"):
            assert text == case.expected
        bless(case, text)
    assert print_graph(PASSES[name](after)) == text, "the pass changes its own result"


def assert_same_meaning(before: Graph, after: Graph) -> None:
    """Both graphs have one signature and compute the same numbers."""
    assert [(p.name, p.type) for p in after.params] == [(p.name, p.type) for p in before.params]
    assert [r.type for r in after.results] == [r.type for r in before.results]
    assert after.result_names == before.result_names
    arrays = random_arrays(before)
    for expected, result in zip(before.evaluate(*arrays), after.evaluate(*arrays)):
        if result.dtype.kind in "biu":
            np.testing.assert_array_equal(result, expected)
        else:
            near = 1e-2 if result.dtype.itemsize == 2 else 1e-5
            np.testing.assert_allclose(result.astype(np.float64), expected.astype(np.float64), rtol=near, atol=near)


def bless(case: Case, text: str) -> None:
    """Write `text` as what is expected of `case` into its file; the other cases keep theirs."""
    content = case.path.read_text(encoding="utf-8")
    _, cases = read_cases(case.path)
    (now,) = [c for c in cases if c.title == case.title]
    separator = "\n" if now.end < len(content) else ""
    case.path.write_text(content[:now.start] + text + separator + content[now.end:], encoding="utf-8")


def test_titles_are_unique():
    for path in FILES:
        titles = [case.title for case in read_cases(path)[1]]
        assert len(titles) == len(set(titles)), path.name
