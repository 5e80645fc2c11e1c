"""Does every operator of the table compute what ONNX's own test cases say?  All of them, through the interpreter.

A case passes, or raises UnsupportedError with a reason that is foreseen here; anything else is a failure.
"""

import re
import warnings
from collections import defaultdict

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import numpy_helper  # noqa: E402

from lamina.compiler.core.errors import UnsupportedError  # noqa: E402
from lamina.frontends.onnx import load  # noqa: E402
from lamina.frontends.onnx.table import names  # noqa: E402

#: Element types that lamina computes with.
TYPES = {onnx.TensorProto.DataType.Value(n) for n in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL", "INT8", "INT16",
                                                      "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")}

#: Cases of operators in the table that can't be imported, by a pattern of their names, with what their message says.
UNSUPPORTED = {
    r"bitcast": "bits of a computed tensor",
    r"dropout.*(default|zero_ratio).*|training_dropout": "draws random numbers",
    r"range_.*_expanded|loop11": "stacks outputs over steps whose number is not known",
    r"scan_sum": "Scan of opset 8",
    r"if_opt": "type proto",
    r"split_to_sequence": "it is no tensor",
    r"bernoulli": "no such operator",
    r"(cast|castlike|quantizelinear).*(FLOAT8|FLOAT4|INT4|INT2|e4m3|e5m2|e8m0|float4|int4|int2)": "dtype",
}

#: Cases whose expected values are no more exact than this.
ATOL = {r"dft_inverse": 1e-6}


def _all_cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases
        return collect_testcases(None)


@pytest.fixture(scope="module")
def cases():
    """ONNX's node cases by the operator that they are for."""
    found = defaultdict(list)
    for case in _all_cases():
        nodes = case.model.graph.node
        found[(nodes[0].domain, nodes[0].op_type) if len(nodes) == 1 else None].append(case)
    return found


def _array(value):
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _import(case, inputs):
    """The graph; inputs that decide shapes are fixed to their values, as the import asks for."""
    order = [v.name for v in case.model.graph.input]
    fixed = {}
    while True:
        try:
            return load(case.model, inputs=fixed).verify(), order
        except UnsupportedError as error:
            wanted = {name for problem in error.problems for name in problem.inputs} - set(fixed)
            if not wanted:
                raise
            fixed |= {name: _array(inputs[order.index(name)]) for name in wanted}


def _run(case) -> None:
    """The case through the interpreter; AssertionError where a result differs."""
    for inputs, outputs in case.data_sets:
        graph, order = _import(case, inputs)
        results = graph.evaluate(*(_array(inputs[order.index(p.name)]) for p in graph.params))
        assert len(results) == len(outputs)
        for got, expected in zip(results, map(_array, outputs)):
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype), case.name
            low = 2e-2 if got.dtype.itemsize == 2 and got.dtype.kind not in "iu" else case.rtol
            atol = max([case.atol, *(a for pattern, a in ATOL.items() if re.search(pattern, case.name))])
            np.testing.assert_allclose(got.astype(np.float64), expected.astype(np.float64), rtol=low, atol=atol,
                                       err_msg=case.name)


def _has_other_types(case) -> bool:
    """Whether an input or output is no tensor, or has an element type that lamina does not have."""
    values = [*case.model.graph.input, *case.model.graph.output]
    return any(v.type.WhichOneof("value") != "tensor_type" or v.type.tensor_type.elem_type not in TYPES for v in values)


def _check(case) -> None:
    reasons = [text for pattern, text in UNSUPPORTED.items() if re.search(pattern, case.name)]
    try:
        _run(case)
    except UnsupportedError as error:
        assert error.problems, f"{case.name}: {error}"
        assert _has_other_types(case) or any(text in str(error) for text in reasons), f"{case.name}: {error}"


@pytest.mark.parametrize("domain,name", names(), ids=lambda v: v or "ai.onnx")
def test_operator(cases, domain, name):
    for case in cases.get((domain, name), []):
        _check(case)


def test_cases_of_several_nodes(cases):
    """Function bodies written out, and small graphs: what they need is in the table, or they name what is missing."""
    assert len(cases[None]) > 300
    missing = {name for case in cases[None] for name in _not_imported(case)}
    assert missing <= {"RandomUniformLike", "StringConcat", "StringSplit", "RegexFullMatch"}, missing


def _not_imported(case) -> set[str]:
    """The operators for which the import of a case is refused."""
    try:
        _check(case)
    except AssertionError as error:
        if "no such operator" not in str(error):
            raise
        return {line.split()[0] for line in str(error).splitlines() if "no such operator" in line}
    return set()


def test_operators_outside_the_table(cases):
    """They are imported through the function body that the specification gives, or refused as unsupported."""
    table = set(names())
    for key, some in cases.items():
        if key is None or key in table:
            continue
        for case in some:
            try:
                _run(case)
            except UnsupportedError as error:
                assert error.problems, f"{case.name}: {error}"


def test_most_cases_pass(cases):
    """The share of cases that run: a change that refuses what was supported shows here."""
    passed = 0
    for case in (c for some in cases.values() for c in some):
        try:
            load(case.model)
            passed += 1
        except UnsupportedError as error:
            passed += bool(error.problems) and all(problem.inputs for problem in error.problems)
    assert passed >= 1500
