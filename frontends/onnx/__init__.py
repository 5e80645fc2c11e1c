"""ONNX models in, graphs out: `load` imports a model; `backend`, the ONNX Backend API, is imported at first use."""

from .importer import load

__all__ = ["backend", "load"]


def __getattr__(name: str):
    if name == "backend":
        from importlib import import_module
        return import_module(".backend", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
