"""How is an example tried?  `example(name)` is its module; `run_main(module, *words)` runs it as a script and gives what it prints."""

import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="session")
def example():
    def load(name: str):
        spec = importlib.util.spec_from_file_location(f"example_{Path(name).stem}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module
    return load


@pytest.fixture
def run_main(capsys, monkeypatch):
    def run(module, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [module.__file__, *words])
        module.main()
        return capsys.readouterr().out
    return run
