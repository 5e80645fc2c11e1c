"""ONNX models in, graphs out: `load` imports a model; `backend` is the ONNX Backend API."""

from .importer import load

__all__ = ["load"]
