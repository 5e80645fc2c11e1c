"""Does the demo show a model that works, with and without a terminal and onnxruntime?"""

import importlib.util

import numpy as np

from lamina.frontends.cli.commands import demo


def test_demo_tells_the_story(lamina, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxruntime" else find(name, *a))
    ended = lamina("demo")
    assert ended.code == 0, ended.err
    assert "449 of 450 test images are right" in ended.out and "conv + add + max" in ended.out and "lower bound" in ended.out
    assert "onnxruntime is not installed" in ended.out and "\x1b" not in ended.out
    assert "(is 9)" in ended.out  # the one mistake is shown, too


def test_demo_as_data(lamina):
    data = lamina("demo", "--json").json
    assert data["accuracy"] == 449 / 450 and data["largest_difference"] < 1e-4
    assert len(data["kernels"]) < data["graph_nodes"] and data["arena_bytes"] >= data["lower_bound"] > 0
    assert all(seconds > 0 for seconds in data["seconds_per_image"].values())


def test_pictures_in_grey_and_in_letters():
    image = np.zeros((8, 8), np.uint8)
    image[0, 0], image[7, 7] = 16, 8
    lines = demo.picture(image, has_color=True)
    assert len(lines) == 4 and lines[0].startswith("\x1b[38;5;255;48;5;232m▀") and lines[3].endswith("48;5;243m▀\x1b[0m")
    letters = demo.picture(image, has_color=False)
    assert len(letters) == 8 and letters[0].startswith("@@ ") and letters[7].endswith("==")


def test_a_wrong_digit_is_among_the_pictures():
    images, labels = np.zeros((5, 1, 8, 8), np.uint8), np.arange(5)
    predicted = labels.copy()
    predicted[3] = 9
    shown = "\n".join(demo.pictures(images, labels, predicted, 3, has_color=False))
    assert "9 (is 3)" in shown and "2" not in shown
