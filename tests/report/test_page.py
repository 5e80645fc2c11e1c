"""Does the page of a compilation stand on its own, and does it do in a browser what it promises?"""

import base64
import json
import re
import zlib

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.driver import compile_program
from lamina.compiler.graph.text import parse_graph
from lamina.frontends.report.html import page
from lamina.frontends.report.levels import STAGES, Levels
from lamina.runtime.executable import Executable
from lamina.runtime.profile import Roofline
from .browser import CHROMIUM, browser

MLP = """\
graph mlp(%x: f32[batch, 6], %w: f32[6, 3]) -> (y) symbols(batch=1..64) {
  %0 = contract(%x, %w) {spec="mk,kn->mn"}  # node "/layer.0/MatMul"
  %1 = tanh(%0)  # node "/layer.0/Tanh"
  %2 = exp(%1)  # node "/layer.1/Exp"
  %3 = reduce(%2) {kind="sum", axes=(1,)}  # node "/layer.1/Sum"
  return %3
}
"""


def part(text: str, name: str):
    """A part of the data that a page holds."""
    packed = re.search(rf'<script type="text/plain" id="data-{name}">([^<]*)</script>', text).group(1)
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_the_page_holds_every_stage_and_needs_no_network():
    text = page(Levels(parse_graph(MLP)), "mlp")
    assert "default-src 'none'" in text and not re.search(r"""\s(src|href)\s*=|https?://|@import|fetch\(|XMLHttpRequest|import\(""", text)
    assert [stage["name"] for stage in part(text, "stages")] == list(STAGES)
    for stage in part(text, "stages"):
        blocks = part(text, f"stage-{stage['name']}")
        assert len(blocks) == stage["blocks"] and sum(len(b["lines"]) for b in blocks) == stage["lines"] > 0


def test_names_that_want_to_break_out():
    graph = parse_graph('graph "</script><b>"(%"a<!--b": f32[4]) -> ("<i>") {\n  %0 = exp(%"a<!--b")  # node "</script>\\"x"\n  return %0\n}\n')
    text = page(Levels(graph), "<title> & {data} {script}")
    plain = page(Levels(parse_graph(MLP)), "mlp")
    assert text.count("</script>") == plain.count("</script>") and "<!--" not in text.split("<body>")[1]
    assert part(text, "about")["title"] == "<title> & {data} {script}"
    assert any("</script>" in origin for origin in part(text, "marks")["origins"])


# ---- in a browser ----------------------------------------------------------------------------------------------------
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
LIT = "[...document.querySelectorAll('section[data-name=%s] .item')].filter((row) => /exact|same|origin|kernel/.test(row.className)).length"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The page of the MLP in a browser."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(page(Levels(parse_graph(MLP)), "mlp"))
    with browser(folder / "profile") as found:
        found.open((folder / "page.html").as_uri())
        yield found
        assert found.errors == []


@pytest.fixture
def shown(opened):
    """The page as it is at first: nothing followed, every stage beside the graph."""
    opened.press("Escape")
    opened.run("Promise.all(columns.map((column) => { toggle(column.pane, true); return column.unpack(); })).then(() => panes.graph.view.build())")
    opened.settle()
    return opened


def item_center(page, condition: str) -> list[float]:
    """Where on the page the middle of the graph's item lies for which `condition` holds."""
    return page.run(f"""(() => {{ const g = panes.graph.view, i = g.visible.find((i) => {condition}), c = g.camera, b = g.plot.canvas.getBoundingClientRect();
        g.center(i);
        return [b.left + (i.absolute[0] + i.width / 2 - c.x) * c.scale, b.top + (i.absolute[1] + i.height / 2 - c.y) * c.scale]; }})()""")


def test_a_click_on_a_value_follows_it_everywhere(shown):
    span = "[...document.querySelectorAll('section[data-name=traced] .link')].find((e) => e.textContent === '%1')"
    shown.click_on(span)
    assert "exact" in shown.run(f"({span}).className")
    assert "/layer.0/Tanh" in shown.run("document.getElementById('selection').textContent")
    for stage in ("traced", "canonical", "fused", "kernels", "llvm", "asm"):
        assert shown.run(LIT % stage) >= 1, stage
    assert shown.run("panes.graph.view.visible.some((item) => panes.graph.view.level_of(item) > 1)")
    assert shown.run("report.steps.memory.slots.some((slot) => strength(slot[5]) > 0)") and shown.run(LIT % "launches") >= 1
    shown.press("Escape")
    assert all(shown.run(LIT % stage) == 0 for stage in ("traced", "fused", "llvm", "launches"))


def test_a_click_on_a_group_of_the_graph_leads_to_its_kernel_and_code(shown):
    shown.click(*item_center(shown, "i.kind === 'contraction'"))
    kernel = shown.run("report.steps.kernels[0]")
    assert kernel in shown.run("document.getElementById('selection').textContent")
    for stage in ("kernels", "llvm", "asm"):
        first = shown.run(f"document.querySelector('section[data-name={stage}] .item.head.origin').textContent")
        assert kernel in first
    assert shown.run(LIT % "traced") == 3  # its product, and the elementwise operators behind it


def test_a_click_on_a_launch_leads_back_to_the_model(shown):
    shown.click_on("document.querySelector('section[data-name=launches] .table .item:nth-child(2)')")
    lit = shown.run("[...document.querySelectorAll('section[data-name=traced] .item.origin')].map((row) => row.textContent)")
    assert any("reduce" in line for line in lit) and not any("tanh" in line for line in lit)


def test_boxes_open_and_close_by_double_click(shown):
    before = shown.run("panes.graph.view.visible.length")
    point = item_center(shown, "i.kind === 'contraction'")
    shown.click(*point)
    shown.click(*point, count=2)
    names = shown.run("panes.graph.view.visible.map((item) => item.name)")
    assert len(names) > before and {"contract", "tanh"} <= set(names)
    shown.run("panes.graph.view.level(false)")
    assert shown.run("panes.graph.view.visible.length") == before


def test_the_graph_folds_by_layer_and_by_line(shown):
    names = "panes.graph.view.stage.value = 'traced', panes.graph.view.mode.value = '%s', panes.graph.view.build(), panes.graph.view.visible.map((i) => i.name)"
    assert {"layer.0", "layer.1", "contract"} <= set(shown.run(names % "layer"))
    assert not {"layer.0", "layer.1"} & set(shown.run(names % "nothing"))
    places = shown.run("panes.graph.view.visible.map((i) => [...i.absolute, i.width, i.height])")
    for i, (x, y, w, h) in enumerate(places):  # nothing lies upon another
        assert all(x + w <= a or a + c <= x or y + h <= b or b + d <= y for a, b, c, d in places[:i])
    shown.run("panes.graph.view.stage.value = 'fused', panes.graph.view.mode.value = 'layer'")


def test_search_by_keyboard(shown):
    shown.press("/")
    shown.run("find.value = 'tanh', 0")
    shown.press("Enter", "\r")
    assert shown.run("count.textContent").startswith("1 / ") and shown.run("hits.length") >= 3
    for _ in range(shown.run("hits.findIndex((hit) => hit.column && hit.column.stage.name === 'traced')")):
        shown.press("Enter", "\r")
    assert "tanh" in shown.run("document.querySelector('section[data-name=traced] .item.found').textContent")
    shown.press("Escape")
    assert shown.run("document.querySelectorAll('.item.found').length") == 0


def test_the_theme_switches(shown):
    light = shown.run("getComputedStyle(document.body).backgroundColor")
    shown.click_on("document.getElementById('theme')")
    assert shown.run("getComputedStyle(document.body).backgroundColor") != light
    shown.click_on("document.getElementById('theme')")
    assert shown.run("getComputedStyle(document.body).backgroundColor") == light


@needs_browser
def test_times_stand_in_the_table_and_sort_it(tmp_path):
    levels = Levels(lm.trace(lambda x: lm.exp(x @ np.eye(64, dtype=np.float32)).sum(0), lm.TensorSpec((64, 64))))
    profile = Executable(compile_program(levels.program, levels.target)).profile(np.ones((64, 64), np.float32), seconds=0.02,
                                                                               roofline=Roofline({"float32": 1e11}, ((1 << 15, 1e11), (1 << 27, 1e10))))
    (tmp_path / "page.html").write_text(page(levels, "timed", profile))
    with browser(tmp_path / "profile") as found:
        found.open((tmp_path / "page.html").as_uri())
        titles = found.run("[...document.querySelectorAll('.titles > *')].map((cell) => cell.textContent)")
        assert titles == ["# ↑", "kernel", "from", "time", "rate", "of roof", "operations", "moved"]
        found.click_on("[...document.querySelectorAll('.titles > *')].find((cell) => cell.textContent === 'time')")
        times = found.run("panes.launches.view.order.map((launch) => launch.seconds)")
        assert times == sorted(times, reverse=True) and len(times) == len(profile.rows) > 1 and found.errors == []


@needs_browser
def test_a_large_model_is_drawn_lazily(tmp_path):
    weight = np.eye(8, dtype=np.float32)

    def deep(x):
        for _ in range(400):
            x = lm.softmax(lm.tanh(x @ weight) + x)
        return x
    graph = lm.trace(deep, lm.TensorSpec((4, 8)))
    assert len(graph.nodes) > 2000
    (tmp_path / "page.html").write_text(page(Levels(graph), "deep"))
    with browser(tmp_path / "profile") as found:
        found.open((tmp_path / "page.html").as_uri())
        assert found.run("document.querySelectorAll('*').length") < 1500
        found.run("panes.graph.view.stage.value = 'traced', panes.graph.view.mode.value = 'nothing', panes.graph.view.build()")
        found.settle()
        assert found.run("panes.graph.view.visible.length") > 2000 > 200 > found.run("panes.graph.view.drawn")
        found.run("follow(columns[0].blocks[0].lines[1500][1], null)")
        found.settle()
        assert found.run("document.querySelectorAll('*').length") < 1500 and found.run(LIT % "traced") >= 1 and found.errors == []


@needs_browser
def test_a_model_that_fails_has_a_page(tmp_path, monkeypatch):
    import lamina.compiler.pipeline as pipeline
    stages = [pipeline.Stage(s.name, (lambda *_: 1 / 0) if s.name == "fuse" else s.run, s.form, s.reason) for s in pipeline.STAGES]
    monkeypatch.setattr(pipeline, "STAGES", tuple(stages))
    (tmp_path / "page.html").write_text(page(Levels(parse_graph(MLP)), "broken"))
    with browser(tmp_path / "profile") as found:
        found.open((tmp_path / "page.html").as_uri())
        assert "ZeroDivisionError" in found.run("document.querySelector('section[data-name=kernels]').textContent") and found.errors == []
