"""Do the commands of examples/build_and_link give a program that finds the edges?"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "build_and_link"

pytestmark = pytest.mark.skipif(shutil.which("cc") is None or not sys.platform.startswith("linux"), reason="needs cc")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A copy of the example in which its first commands have run."""
    folder = tmp_path_factory.mktemp("build") / "build_and_link"
    shutil.copytree(SOURCE, folder)
    commands = re.findall(r"```sh\n(.*?)```", (SOURCE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(commands) == 2
    run(commands[0], folder)
    return folder, commands[1]


def run(command: str, folder: Path) -> str:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "LAMINA_CACHE": "off"}
    ended = subprocess.run(["sh", "-e", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_program_draws_a_ring(built):
    folder, _ = built
    *rows, memory = run("./main", folder).splitlines()
    assert len(rows) == 13 and {len(row) for row in rows} == {26}
    assert rows == rows[::-1] and all(row == row[::-1] for row in rows), "a disc is symmetric"
    assert rows[0].strip() and rows[6].count("#") == 4 and not rows[6][4:-4].strip(), "an edge around a plain inside"
    assert re.fullmatch(r"\d+ bytes of working memory, compiled by lamina \S+", memory)


def test_one_library_takes_images_of_any_size(built):
    folder, _ = built
    assert len(run("./main 40 90", folder).splitlines()) == 41
    ended = subprocess.run(["./main", "1", "5000"], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr == "1 x 5000: 1 to 4096 of each was declared\n"


def test_the_command_line_builds_the_same(built):
    folder, command = built
    before = run("./main", folder)
    run(command, folder)
    assert "x86-64-v3" in (folder / "edges.h").read_text() and run("./main", folder) == before


def test_the_model_is_sobels(built, example):
    import lamina as lm
    image = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    padded = np.pad(image, 1)
    across = sum(w * (padded[i:i + 5, 0:6] - padded[i:i + 5, 2:8]) for i, w in enumerate((1, 2, 1)))
    down = sum(w * (padded[0:5, i:i + 6] - padded[2:7, i:i + 6]) for i, w in enumerate((1, 2, 1)))
    strength = lm.jit(example("build_and_link/edges").edges)(image)["strength"]
    assert np.abs(strength - np.hypot(across, down)).max() < 1e-5
