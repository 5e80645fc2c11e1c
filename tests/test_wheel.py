"""Does the wheel hold every module, and does each import from it alone?"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("compiler", "runtime", "frontends")

IMPORT_ALL = """
import importlib, json, sys, lamina
assert lamina.__file__.startswith(sys.argv[1]), lamina.__file__
failed = {}
for name in json.load(sys.stdin):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the unpacked wheel of a copy of the checkout, so that building leaves nothing behind."""
    pytest.importorskip("setuptools", reason="building the wheel needs setuptools")
    source, built, unpacked = (tmp_path_factory.mktemp(name) for name in ("source", "built", "unpacked"))
    shutil.copytree(ROOT, source, dirs_exist_ok=True, ignore=shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "benchmarks", "docs", "examples"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(built)]
    build = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert build.returncode == 0, build.stdout + build.stderr
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


def module_names(folder: Path) -> set[str]:
    """The dotted names below `lamina` of the Python files in the three rooms of `folder`."""
    found = set()
    for room in ROOMS:
        for file in (folder / room).rglob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def test_the_wheel_holds_every_module(installed):
    assert module_names(installed / "lamina") == module_names(ROOT), "a folder without __init__.py is left out"
    assert not [p for p in installed.iterdir() if p.name != "lamina" and not p.name.endswith(".dist-info")]
    assert not [p.name for p in (installed / "lamina").iterdir() if p.is_dir() and p.name not in ROOMS]


def test_every_module_imports_from_the_wheel(installed, tmp_path):
    names = sorted(f"lamina.{name}" for name in module_names(installed / "lamina") if not name.endswith("__main__"))
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    run = subprocess.run([sys.executable, "-c", IMPORT_ALL, str(installed)], input=json.dumps(names),
                         capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {}


def test_the_wheel_holds_the_files_that_are_read_beside_modules(installed):
    data = {str(p.relative_to(ROOT)) for room in ROOMS for p in (ROOT / room).rglob("*")
            if p.is_file() and p.suffix not in (".py", ".pyc", ".pyi") and "__pycache__" not in p.parts}
    assert {"frontends/report/page/page.html", "frontends/cli/demo/digits.onnx"} <= data
    missing = [name for name in data if not (installed / "lamina" / name).is_file()]
    assert not missing, "name it in setup.py's package_data"
