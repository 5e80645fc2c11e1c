"""Does the table agree with ONNX's schemas?  Every version of every operator: its attributes, defaults and inputs."""

import pytest

onnx = pytest.importorskip("onnx")

from lamina.frontends.onnx.table import find, names, versions  # noqa: E402

SCHEMAS = [s for s in onnx.defs.get_all_schemas_with_history() if not s.deprecated
           and (s.domain, s.name) in set(names())]

#: Defaults that differ on purpose, with the reason.
DEFAULTS = {
    ("Clip", "min"): "no bound, which is the lowest float", ("Clip", "max"): "no bound, which is the highest float",
    ("Dropout", "is_test"): "a model that is imported is run for inference",
    ("GRU", "direction"): "opset 1 spells it 'foward'",
    ("GridSample", "mode"): "opset 16 calls linear 'bilinear'; both names are taken",
    ("RNN", "activations"): "one Tanh per direction",
}


def _id(schema) -> str:
    return f"{schema.name}-{schema.since_version}"


@pytest.mark.parametrize("schema", SCHEMAS, ids=_id)
def test_schema(schema):
    found = find(schema.domain, schema.name, schema.since_version)
    assert found is not None, f"the table begins with version {versions(schema.domain, schema.name)[-1].since}"
    assert set(schema.attributes) <= found.attributes | found.ignored
    assert found.is_variadic or schema.max_input <= len(found.inputs)
    for name, attribute in schema.attributes.items():
        if name not in found.attributes:
            continue
        default = found.parameters[name].default
        if attribute.default_value.type and (schema.name, name) not in DEFAULTS:
            value = onnx.helper.get_attribute_value(attribute.default_value)
            value = value.decode() if isinstance(value, bytes) else value
            default = list(default) if isinstance(value, list) else default
            assert default == (pytest.approx(value) if isinstance(value, float) else value)


CONTRIBUTED = {("com.microsoft", "MatMulNBits")}  # of onnxruntime, with tests of their own


def test_every_name_is_onnx():
    known = {(s.domain, s.name) for s in onnx.defs.get_all_schemas_with_history()}
    assert set(names()) <= known | CONTRIBUTED
