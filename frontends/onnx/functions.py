"""Which operators does ONNX itself define by others?  Their function bodies stand in where the table has no rule."""

from __future__ import annotations

from typing import Sequence

from ...compiler.core.dtypes import as_dtype
from ...compiler.core.dims import DimExpr


def called_function(node, domain: str, opset: int, inputs: Sequence):
    """The FunctionProto that the specification gives for the operator of `node`, or None where it gives none."""
    from onnx import defs
    try:
        schema = defs.get_schema(node.op_type, opset, domain)
    except defs.SchemaError:
        return None
    if schema.has_function:
        return schema.function_body
    if schema.has_context_dependent_function:
        return _specialized(schema, node, inputs)
    return None


def _specialized(schema, node, inputs: Sequence):
    """The body that depends on the attributes and types of this node."""
    import onnx
    types = []
    for value in inputs:
        proto = onnx.TypeProto()
        if value is not None:
            if not hasattr(value, "dtype"):
                return None
            proto.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(as_dtype(value.dtype).numpy)
            for d in value.shape:
                axis = proto.tensor_type.shape.dim.add()
                if isinstance(d, DimExpr):
                    axis.dim_param = str(d)
                else:
                    axis.dim_value = d
        types.append(proto.SerializeToString())
    versions = [v for v in schema.context_dependent_function_opset_versions if v >= schema.since_version]
    if not versions:
        return None
    body = schema.get_context_dependent_function_with_opset_version(versions[0], node.SerializeToString(), types)
    if not body:
        return None
    function = onnx.FunctionProto()
    function.ParseFromString(body)
    return function
