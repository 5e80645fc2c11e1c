"""Do the image networks of ONNX's own tests import?  Old operator sets, real topologies; their weights are made up here."""

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import numpy_helper  # noqa: E402

from lamina.frontends.onnx import load  # noqa: E402

from .models import floats  # noqa: E402

MODELS = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_it_imports(path):
    graph = load(path).verify()
    declared = onnx.load(path).graph.output[0].type.tensor_type.shape.dim
    assert graph.results[0].shape == tuple(d.dim_value for d in declared)
    assert len(graph.params) == 1 and graph.params[0].shape == (1, 3, 224, 224)


def with_weights(path):
    """The model with random numbers in place of its constant weights (each is a ConstantOfShape)."""
    model, rng = onnx.load(path), np.random.default_rng(0)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    variances = {n.input[4] for n in model.graph.node if n.op_type == "BatchNormalization"}
    kept = [n for n in model.graph.node if n.op_type != "ConstantOfShape"]
    for n in model.graph.node:
        if n.op_type == "ConstantOfShape":
            shape = tuple(shapes[n.input[0]])
            scale = 1.4 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
            array = (rng.standard_normal(shape) * scale).astype(np.float32)
            array = np.abs(array) + np.float32(0.5) if n.output[0] in variances else array
            model.graph.initializer.append(numpy_helper.from_array(array, n.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.ir_version = 4
    return model


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_its_numbers(name):
    runtime = pytest.importorskip("onnxruntime")
    model = with_weights(next(p for p in MODELS if name in p.stem))
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = floats(1, 3, 224, 224)
    expected = session.run(None, {session.get_inputs()[0].name: x})[0]
    got = load(model).evaluate(x)[0]
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
