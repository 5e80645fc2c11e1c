"""Small ONNX models for the tests, written as nodes."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(nodes, inputs, outputs, constants=None, opset=21, functions=(), domains=(), ir=10):
    """A ModelProto. `inputs` is {name: shape} (float32) or {name: (type, shape)}, `outputs` a list of names
    (float32) or {name: type}, `constants` {name: array}."""
    values = []
    for name, spec in inputs.items():
        kind, shape = spec if isinstance(spec, tuple) else (FLOAT, spec)
        values.append(helper.make_tensor_value_info(name, kind, shape))
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()]
    types = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs, FLOAT)
    results = [helper.make_value_info(name, helper.make_tensor_type_proto(kind, None)) for name, kind in types.items()]
    graph = helper.make_graph(nodes, "test", values, results, tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=ir)


def node(op, inputs, outputs, name="", domain="", **attributes):
    """A node; inputs and outputs are names in one string."""
    return helper.make_node(op, inputs.split(","), outputs.split(","), name=name or f"{op}/{outputs}", domain=domain,
                            **attributes)


def floats(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).uniform(-1, 1, shape).astype(np.float32)
