"""How is the command line tried?  `lamina(*words)` runs it in this process, with a cache of its own, in an empty folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamina.frontends.cli import main

DIGITS = Path(__file__).resolve().parents[2] / "frontends" / "cli" / "demo" / "digits.onnx"
MLP = """\
graph mlp(%x: f32[batch, 6], %w: f32[6, 3]) -> (y) symbols(batch=1..64) {
  %0 = contract(%x, %w) {spec="mk,kn->mn"}  # model.py:3 in forward
  %1 = tanh(%0)  # model.py:4 in forward
  return %1
}
"""


@dataclass
class Ended:
    """How a command ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        data = json.loads(self.out)
        assert data["schema"] == 1 and data["command"]
        return data


@pytest.fixture
def lamina(capsys, tmp_path, monkeypatch):
    """Run the command line; the working folder is empty, the cache is this test's."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("LAMINA_CACHE", raising=False)
    monkeypatch.delenv("LAMINA_TRACEBACK", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*words) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)
    return run


@pytest.fixture
def mlp(lamina, tmp_path) -> Path:
    """A small graph as text: y = tanh(x @ w)."""
    path = tmp_path / "work" / "mlp.lamina"
    path.write_text(MLP)
    return path


@pytest.fixture
def digits() -> Path:
    """The demo's model: images [batch, 1, 8, 8] to logits [batch, 10]."""
    return DIGITS
