"""The ONNX Backend API over lamina: prepare, run_model, run_node, supports_device
(onnx/docs/ImplementingAnOnnxBackend.md)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Mapping, Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from ...compiler.core.errors import UnsupportedError
from ..compile import compile
from .importer import load

SPECIALIZED = 8  # executables that a model keeps for the values of its settings


class LaminaRep(BackendRep):
    """A prepared model. Inputs that decide shapes (a Reshape's shape given as an input) are settings: the model is
    compiled for their values when it runs, and compiled again for others."""

    def __init__(self, model, **options):
        self.model = model
        self.options = options
        self.names = [v.name for v in model.graph.input if v.name not in {t.name for t in model.graph.initializer}]
        self.settings: tuple[str, ...] = ()
        self.executables: OrderedDict[bytes, Any] = OrderedDict()
        self.executable = self._compile({})

    def _compile(self, values: Mapping[str, np.ndarray]):
        """The executable for these settings; None where more settings are needed, which are noted."""
        options = dict(self.options)
        try:
            graph = load(self.model, dims=options.pop("dims", None), inputs=values)
        except UnsupportedError as error:
            wanted = {name for problem in error.problems for name in problem.inputs} - set(self.settings)
            if not wanted or not all(problem.inputs for problem in error.problems):
                raise
            self.settings += tuple(sorted(wanted))
            return None
        return compile(graph, **options)

    def run(self, inputs: Sequence | Mapping, **kwargs) -> tuple:
        """The outputs, a named tuple, for inputs in the model's order or by name."""
        given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(self.names, inputs))
        arrays = {name: numpy_helper.to_array(a) if isinstance(a, TensorProto) else np.asarray(a)
                  for name, a in given.items()}
        executable = self.executable or self._specialized(arrays)
        results = executable.run({spec.name: arrays[spec.name] for spec in executable.inputs})
        names = [v.name for v in self.model.graph.output]
        return namedtupledict("Outputs", names)(*(results[name] for name in names))

    def _specialized(self, arrays: Mapping[str, np.ndarray]):
        while True:
            values = {name: arrays[name] for name in self.settings}
            key = b"".join(name.encode() + str(a.shape).encode() + a.tobytes() for name, a in values.items())
            if key not in self.executables:
                executable = self._compile(values)
                if executable is None:
                    continue
                self.executables[key] = executable
                if len(self.executables) > SPECIALIZED:
                    self.executables.popitem(last=False)
            self.executables.move_to_end(key)
            return self.executables[key]


class LaminaBackend(Backend):
    """lamina as an ONNX backend."""

    @classmethod
    def is_compatible(cls, model, device: str = "CPU", **kwargs) -> bool:
        """Whether every operator of `model` can be imported."""
        try:
            load(model)
        except UnsupportedError as error:
            return bool(error.problems) and all(problem.inputs for problem in error.problems)
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model, device: str = "CPU", **kwargs) -> LaminaRep:
        """`model` (a ModelProto) compiled for `device`; keywords are those of `lamina.compile`."""
        if not cls.supports_device(device):
            raise UnsupportedError(f"lamina's ONNX backend has no device {device!r}", hint='it has "CPU"')
        return LaminaRep(model, **kwargs)

    @classmethod
    def run_model(cls, model, inputs, device: str = "CPU", **kwargs) -> tuple:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, node: NodeProto, inputs, device: str = "CPU", outputs_info=None, **kwargs) -> tuple:
        """One node for these arrays. `opset_version` chooses the operator's version, the newest by default."""
        from onnx.defs import onnx_opset_version
        opset = kwargs.pop("opset_version", onnx_opset_version())
        arrays = [np.asarray(a) for a in inputs]
        names = [name for name in node.input if name]
        values = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                  for name, a in zip(names, arrays)]
        outputs = [helper.make_value_info(name, helper.make_tensor_type_proto(TensorProto.UNDEFINED, None))
                   for name in node.output if name]
        graph = helper.make_graph([node], node.op_type or "node", values, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)])
        return cls.run_model(model, arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether the device is the CPU."""
        return device.split(":")[0] == "CPU"


is_compatible = LaminaBackend.is_compatible
prepare = LaminaBackend.prepare
run_model = LaminaBackend.run_model
run_node = LaminaBackend.run_node
supports_device = LaminaBackend.supports_device
