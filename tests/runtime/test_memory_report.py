"""Does the drawing of the arena show what the plan says?"""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import lamina as lm
from lamina.runtime.memory import MemoryReport, shortened

SVG = "{http://www.w3.org/2000/svg}"


def slot(label, offset, size, first, last, location=""):
    return {"label": label, "offset": offset, "bytes": size, "first": first, "last": last, "location": location}


def report(*slots, arena=0, bound=0, peak=0):
    launches = [{"step": step, "label": f"launch {step}"} for step in range(1, 9)]
    return MemoryReport({"name": "m", "memory": {"arena_bytes": arena, "lower_bound": bound, "peak_step": peak,
                                                 "slots": list(slots)},
                         "cost": {"weight_bytes": 10, "input_bytes": 20, "output_bytes": 30}, "launches": launches})


THREE = (slot("a", 0, 64, 1, 4), slot("b<>", 64, 128, 3, 6, "model.py:7 in f"), slot("c", 0, 64, 6, 8))


def test_what_is_live_and_who_owns_the_peak():
    memory = report(*THREE, arena=192, bound=192, peak=3)
    assert memory.live == [64, 64, 192, 192, 128, 192, 64, 64]
    assert [s["label"] for s in memory.owners] == ["b<>", "a"]
    assert memory.curve(8) == "▃▃██▆█▃▃" and memory.peak_column(8) == 2


def test_bars_show_live_ranges():
    memory = report(*THREE, arena=192, bound=192, peak=3)
    assert [(b.label, b.cells, b.is_at_peak) for b in memory.bars(8)] == [
        ("a", "████····", True), ("b<>", "··████··", True), ("c", "·····███", False)]
    assert [b.cells for b in memory.bars(4)] == ["██··", "·██·", "··██"], "a column is full where any of its steps is"
    assert [b.label for b in memory.bars(8, limit=1)] == ["b<>"]
    assert all(len(b.cells) == 8 for b in memory.bars(1000)), "no more columns than steps"


def test_the_text_names_owners_lines_and_totals():
    text = report(*THREE, arena=256, bound=192, peak=3).text(limit=2)
    assert "arena: 256 bytes (256 bytes), 64 bytes above what is live at the peak (192 bytes)" in text
    assert "weights: 10 bytes" in text and "▼ step 3: launch 3" in text and "1 smaller slots are not shown" in text
    assert "128 bytes  b<>  model.py:7 in f" in text.split("live at the peak, step 3:")[1]


def test_nothing_lies_in_the_arena():
    memory = report()
    assert memory.text().splitlines()[0] == "arena: 0 bytes (0 bytes), exactly what is live at the peak (0 bytes)"
    ElementTree.fromstring(memory.svg())
    nothing = lm.compile(lambda x: lm.exp(x), lm.TensorSpec((0,))).memory
    assert nothing.text() and ElementTree.fromstring(nothing.svg()) is not None


def test_the_drawing_has_a_rectangle_for_each_slot():
    root = ElementTree.fromstring(report(*THREE, arena=192, bound=192, peak=3).svg())
    rectangles = [r for r in root.iter(f"{SVG}rect") if r.find(f"{SVG}title") is not None]
    assert len(rectangles) == 3
    boxes = [{k: float(r.get(k)) for k in ("x", "y", "width", "height")} for r in rectangles]
    a, b, c = boxes
    assert b["height"] == pytest.approx(2 * a["height"], abs=0.2) and b["y"] + b["height"] == pytest.approx(a["y"],
                                                                                                            abs=0.2)
    assert c["x"] > a["x"] + a["width"] and "model.py:7" in rectangles[1].find(f"{SVG}title").text


def test_a_real_plan_is_drawn():
    def model(x):
        y = lm.tanh(x @ x)
        return y @ lm.exp(y @ x)
    memory = lm.compile(model, lm.TensorSpec((16, 16))).memory
    assert max(memory.live) == memory.lower_bound == memory.arena_bytes > 0
    assert sum(s["bytes"] for s in memory.owners) == memory.lower_bound
    assert all("in model" in s["location"] for s in memory.slots)
    root = ElementTree.fromstring(memory.svg())
    assert sum(r.find(f"{SVG}title") is not None for r in root.iter(f"{SVG}rect")) == len(memory.slots)
    assert np.isfinite([float(r.get("height")) for r in root.iter(f"{SVG}rect") if "%" not in r.get("height")]).all()


def test_long_labels_are_cut_in_the_middle():
    assert shortened("abcdef", 6) == "abcdef" and shortened("abcdefghij", 6) == "abc…ij"
