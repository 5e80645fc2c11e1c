"""Do the gathers and scatters mean what the ONNX operators of that name mean, on indices inside?"""

import numpy as np
import pytest

from lamina.compiler import ops

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 4, 5)).astype(np.float32)
U = rng.normal(size=(3, 2, 5)).astype(np.float32)
ALONG = rng.permuted(np.tile(np.arange(4)[None, :, None], (3, 1, 5)), axis=1)[:, :2]
ROWS = np.array([[0, 3], [2, 1], [0, 3]])


def onnx_run(name, inputs, **attributes):
    """The result of one ONNX node by ONNX's own reference evaluator."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator
    names = [f"x{i}" for i in range(len(inputs))]
    node = onnx.helper.make_node(name, names, ["y"], **attributes)
    infos = [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in zip(names, inputs)]
    graph = onnx.helper.make_graph([node], "g", infos, [onnx.helper.make_empty_tensor_value_info("y")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    return ReferenceEvaluator(model).run(None, dict(zip(names, inputs)))[0]


@pytest.mark.parametrize("op, name, inputs, attributes", [
    (ops.Take(1), "Gather", (X, np.array([[3, 0], [1, 1]])), {"axis": 1}),
    (ops.TakeAlong(1), "GatherElements", (X, ALONG), {"axis": 1}),
    (ops.GatherNd(0), "GatherND", (X, np.array([[[0, 3]], [[2, 1]]])), {}),
    (ops.GatherNd(1), "GatherND", (X, np.array([[3], [0], [1]])), {"batch_dims": 1}),
    (ops.ScatterAlong(1), "ScatterElements", (X, ALONG, U), {"axis": 1}),
    (ops.ScatterAlong(1, "add"), "ScatterElements", (X, np.zeros_like(ALONG), U), {"axis": 1, "reduction": "add"}),
    (ops.ScatterAlong(1, "max"), "ScatterElements", (X, np.zeros_like(ALONG), U), {"axis": 1, "reduction": "max"}),
    (ops.ScatterNd(), "ScatterND", (X, ROWS, U[:, 0]), {}),
    (ops.ScatterNd("add"), "ScatterND", (X, ROWS, U[:, 0]), {"reduction": "add"}),
    (ops.ScatterNd("mul"), "ScatterND", (X, ROWS, U[:, 0]), {"reduction": "mul"}),
    (ops.ScatterNd("min"), "ScatterND", (X, ROWS, U[:, 0]), {"reduction": "min"})],
    ids=lambda v: str(v) if isinstance(v, ops.Op) else "")
def test_the_onnx_reference_agrees(op, name, inputs, attributes):
    np.testing.assert_allclose(op.evaluate(*inputs)[0], onnx_run(name, inputs, **attributes), rtol=1e-6)


@pytest.mark.parametrize("largest", [True, False])
def test_top_k_is_a_slice_of_a_sort(largest):
    x = rng.integers(0, 5, (3, 17)).astype(np.float32)  # many are equal: the lower index comes first
    values, order = ops.Sort(1, descending=largest).evaluate(x)
    for row, v, o in zip(x, values, order):
        expected = sorted(range(17), key=lambda i: (-row[i] if largest else row[i], i))
        assert o.tolist() == expected and v.tolist() == row[expected].tolist()
