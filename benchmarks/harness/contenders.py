"""Who can run a workload, and how?  One class per contender, each with the settings its own users would choose.

A contender lives in a worker process of its own, so a class imports its package when it is made and may set the
environment and global switches. f32 throughout; constant weights may be prepacked by everybody.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from .workloads import CALL_OVERHEAD, Case


class Contender(Protocol):
    """What a worker asks of a contender. Made with (threads, cache): the thread cap and its compile cache's folder."""

    version: str

    def prepare(self, case: Case, inputs: dict[str, np.ndarray]) -> None:
        """Whatever is not counted: a peer without a model file builds its module here."""

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """From the model file to a function that makes one call on the inputs. Counted, with the first call."""

    def arrays(self, result: object) -> Sequence[np.ndarray]:
        """What a call returned as NumPy arrays, in the order of the model's outputs. Not counted."""

    def artifact_bytes(self) -> int | None:
        """Size of what is deployed for the loaded model, without the contender's own library; None: no such thing."""

    def planned_memory(self) -> dict[str, int] | None:
        """{"arena": bytes, "lower_bound": bytes} where the contender plans and tells, else None."""


class Lamina:
    """lamina through its public interface: NumPy arrays in, NumPy arrays out."""

    options: dict[str, object] = {}

    def __init__(self, threads: int, cache: str) -> None:
        os.environ |= {"LAMINA_CACHE": "on", "LAMINA_CACHE_DIR": cache, "LAMINA_NUM_THREADS": str(threads)}
        import lamina

        self.lamina, self.threads, self.executable = lamina, threads, None
        self.version = lamina.__version__

    def prepare(self, case: Case, inputs: dict[str, np.ndarray]) -> None:
        """Nothing: lamina starts from the file."""

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """Compile the file."""
        options = self.lamina.Options(**self.options)
        self.executable = executable = self.lamina.compile(case.model, options=options)
        self.outputs, threads = [spec.name for spec in executable.outputs], self.threads
        return lambda: executable.run(inputs, threads=threads)

    def arrays(self, result: object) -> Sequence[np.ndarray]:
        """The outputs by name, in the signature's order."""
        return [result[name] for name in self.outputs]

    def artifact_bytes(self) -> int | None:
        """The saved `.lam`: code, constants and manifest."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.lam"
            self.executable.save(str(path))
            return path.stat().st_size

    def planned_memory(self) -> dict[str, int] | None:
        """The memory plan's arena and its lower bound."""
        memory = self.executable.memory
        return {"arena": memory.arena_bytes, "lower_bound": memory.lower_bound}


class LaminaTuned(Lamina):
    """lamina with schedules that were measured before, for as long as a kernel may take."""

    options = {"tune": 60.0}


class OnnxRuntime:
    """onnxruntime, CPU provider, all graph optimizations, NumPy arrays in and out."""

    def __init__(self, threads: int, cache: str) -> None:
        import onnxruntime

        self.onnxruntime, self.threads = onnxruntime, threads
        self.version = onnxruntime.__version__

    def prepare(self, case: Case, inputs: dict[str, np.ndarray]) -> None:
        """Nothing: it starts from the file."""

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """Make a session."""
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.graph_optimization_level = self.onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = self.onnxruntime.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
        self.model = case.model
        return lambda: session.run(None, inputs)

    def arrays(self, result: object) -> Sequence[np.ndarray]:
        """As they come."""
        return result

    def artifact_bytes(self) -> int | None:
        """The model file is what is deployed."""
        return Path(self.model).stat().st_size

    def planned_memory(self) -> dict[str, int] | None:
        """It does not tell."""
        return None


class OpenVino:
    """OpenVINO, CPU plugin, latency hint, one stream, f32, shared inputs, NumPy arrays out."""

    def __init__(self, threads: int, cache: str) -> None:
        import openvino

        self.openvino, self.threads, self.cache = openvino, threads, cache
        self.version = openvino.__version__.partition("-")[0]  # the rest is a build hash

    def prepare(self, case: Case, inputs: dict[str, np.ndarray]) -> None:
        """Nothing: it starts from the file."""

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """Compile the file; its model cache is on, so that its warm start is measured too."""
        compiled = self.openvino.Core().compile_model(case.model, "CPU", {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32", "CACHE_DIR": self.cache})
        request = compiled.create_infer_request()
        self.model, self.outputs = case.model, compiled.outputs
        return lambda: request.infer(inputs, share_inputs=True)

    def arrays(self, result: object) -> Sequence[np.ndarray]:
        """The outputs by port, in the model's order."""
        return [result[port] for port in self.outputs]

    def artifact_bytes(self) -> int | None:
        """The model file is what is deployed."""
        return Path(self.model).stat().st_size

    def planned_memory(self) -> dict[str, int] | None:
        """It does not tell."""
        return None


class Torch:
    """PyTorch eager in inference mode, torch tensors in and out; the module comes from the zoo's source."""

    def __init__(self, threads: int, cache: str) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.version = torch.__version__

    def prepare(self, case: Case, inputs: dict[str, np.ndarray]) -> None:
        """Build the module with the seed that the export used: there is no file to read."""
        self.module = self._build_module(case.name)
        self.tensors = [self.torch.from_numpy(inputs[f"in{i}"]) for i in range(len(inputs))]

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """Nothing to compile."""
        return self._caller(self.module)

    def arrays(self, result: object) -> Sequence[np.ndarray]:
        """Views of the tensors."""
        results = result if isinstance(result, (tuple, list)) else (result,)
        return [tensor.numpy() for tensor in results]

    def artifact_bytes(self) -> int | None:
        """Python source is what is deployed."""
        return None

    def planned_memory(self) -> dict[str, int] | None:
        """It does not plan."""
        return None

    def _build_module(self, name: str) -> object:
        torch = self.torch
        if name == CALL_OVERHEAD:
            class Double(torch.nn.Module):
                def forward(self, x: torch.Tensor) -> torch.Tensor:
                    return x + x
            return Double().eval()
        try:
            import zoo
        except ModuleNotFoundError as error:
            raise RuntimeError("the torch contenders need the zoo's source: --zoo-source DIR or ZOO_SOURCE") from error
        return zoo.get(name)[0]

    def _caller(self, module: Callable) -> Callable[[], object]:
        inference_mode, tensors = self.torch.inference_mode, self.tensors

        def call() -> object:
            with inference_mode():
                return module(*tensors)
        return call


class Inductor(Torch):
    """torch.compile with its default settings; static shapes, frozen weights off, as users get it."""

    def __init__(self, threads: int, cache: str) -> None:
        self.cache = Path(cache)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        super().__init__(threads, cache)

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """Compilation happens in the first call, which is counted."""
        return self._caller(self.torch.compile(self.module))

    def artifact_bytes(self) -> int | None:
        """The generated libraries in the cache, without the weights."""
        return sum(path.stat().st_size for path in self.cache.rglob("*.so"))


class InductorMax(Inductor):
    """torch.compile, mode max-autotune with frozen weights: the most that inductor does on a processor."""

    def load(self, case: Case, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        """Compilation and tuning happen in the first call, which is counted."""
        import torch._inductor.config

        torch._inductor.config.freezing = True
        return self._caller(self.torch.compile(self.module, mode="max-autotune-no-cudagraphs"))


CONTENDERS = {
    "lamina": "harness.contenders:Lamina",
    "lamina-tuned": "harness.contenders:LaminaTuned",
    "onnxruntime": "harness.contenders:OnnxRuntime",
    "openvino": "harness.contenders:OpenVino",
    "torch": "harness.contenders:Torch",
    "inductor": "harness.contenders:Inductor",
    "inductor-max": "harness.contenders:InductorMax",
}
