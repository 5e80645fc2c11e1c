"""Does the namespace keep the Array API standard: promotion, functions and their keywords, creation, inspection?"""

import inspect
import itertools
import math

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.core.types import TensorType
from lamina.frontends.array.tracer import tracing

strict = pytest.importorskip("array_api_strict")
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
#: What the standard has and lamina leaves out, with the reason.
LEFT_OUT = {"complex64", "complex128", "conj", "real", "imag",  # no complex dtypes
            "Device", "ArrayAPIStrictFlags", "get_array_api_strict_flags",
            "reset_array_api_strict_flags",  # not of the standard
            "set_array_api_strict_flags", "__array_api_version__", "fft"}


@pytest.mark.parametrize("a, b", list(itertools.combinations_with_replacement(DTYPES, 2)))
def test_promotion_keeps_the_standards_table(a, b):
    """And where the standard gives none, an integer with a float gives the float, bool with a number the number."""
    x, y = np.ones(1, a), np.ones(1, b)
    try:
        expected = strict.result_type(getattr(strict, a), getattr(strict, b))
        expected = str(expected).split(".")[-1]
    except TypeError:
        kinds = {np.dtype(d).kind for d in (a, b)}
        if kinds == {"i", "u"}:
            with pytest.raises(lm.DTypeError, match="no common dtype"):
                lm.add(x, y)
            assert not lm.can_cast(a, b) and not lm.can_cast(b, a)
            return
        expected = next(d for d in (a, b) if np.dtype(d).kind == ("f" if "f" in kinds else (kinds - {"b"}).pop()))
    assert lm.add(x, y).dtype == lm.result_type(a, b) == lm.result_type(x, getattr(lm, b)) == expected
    with tracing() as trace:
        params = [trace.parameter(TensorType((1,), getattr(lm, d if d != "bool" else "bool_"))) for d in (a, b)]
        assert (params[0] + params[1]).dtype == lm.where(params[0] == params[1], *params).dtype == expected
    assert lm.can_cast(a, expected)


@pytest.mark.parametrize("dtype", [*DTYPES, "float16", "bfloat16"])
def test_python_scalars_do_not_widen(dtype):
    x = np.ones(2, getattr(lm, dtype).numpy if dtype != "bool" else bool)
    expected = {"bool": {True: "bool", 1: "int64", 1.0: "float32"}}.get(dtype)
    for scalar in (True, 1, 0.5):
        kind = lm.add(x, scalar).dtype
        if dtype == "bool":
            assert kind == {bool: "bool", int: "int64", float: "float32"}[type(scalar)]
        elif type(scalar) is float and np.dtype(x.dtype).kind in "iu":
            assert kind == "float32"
        else:
            assert kind == x.dtype
    assert expected is None or lm.result_type(True, 1) == lm.int64


def test_out_of_range_python_integers_are_refused():
    with pytest.raises(lm.DTypeError, match="the Python integer 300 is out of range for uint8"):
        lm.add(np.ones(1, np.uint8), 300)
    with pytest.raises(lm.DTypeError, match="the Python integer -1 is out of range for uint32"):
        lm.trace(lambda x: x * -1, lm.TensorSpec(3, "uint32"))


def test_the_namespace_has_every_function_of_the_standard_and_its_keywords():
    missing, keywords = [], []
    for name in strict.__all__:
        if name in LEFT_OUT:
            continue
        ours, theirs = getattr(lm, name, None), getattr(strict, name)
        if ours is None and name not in ("newaxis",):
            missing.append(name)
            continue
        if inspect.isfunction(theirs) and callable(ours):
            have = inspect.signature(ours).parameters
            for parameter in inspect.signature(theirs).parameters.values():
                if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in have:
                    keywords.append(f"{name}: {parameter.name}")
    assert not missing and not keywords


def test_what_is_left_out_says_so():
    with pytest.raises(lm.UnsupportedError, match="no lm.fft"):
        lm.fft
    with pytest.raises(lm.UnsupportedError, match="lamina compiles no lm.linalg.svd"):
        lm.linalg.svd
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        lm.nonsense
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        lm.linalg.nonsense
    assert lm.linalg.matrix_norm(np.ones((2, 3, 4), np.float32)).shape == (2,)


# ---- dtypes ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_limits_of_floats_agree_with_numpy(dtype):
    ours, theirs = lm.finfo(dtype), np.finfo(dtype)
    for name in ("bits", "eps", "max", "min", "smallest_normal"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.dtype == dtype and lm.finfo(np.ones(2, dtype)).bits == ours.bits
    with pytest.raises(lm.DTypeError, match="finfo of int8"):
        lm.finfo(lm.int8)


def test_limits_of_bfloat16_agree_with_ml_dtypes():
    import ml_dtypes
    ours, theirs = lm.finfo(lm.bfloat16), ml_dtypes.finfo(ml_dtypes.bfloat16)
    assert (ours.max, ours.eps, ours.smallest_normal) == (float(theirs.max), float(theirs.eps),
                                                          float(theirs.smallest_normal))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if "int" in d])
def test_limits_of_integers_agree_with_numpy(dtype):
    ours, theirs = lm.iinfo(dtype), np.iinfo(dtype)
    assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)


def test_dtypes_equal_numpys_and_are_taken_by_it():
    assert lm.float32 == np.float32 == lm.asarray([1.0]).dtype and lm.float32 == "float32" and lm.float32 != np.float64
    assert lm.float64 != None and lm.float32 != 3 and not lm.float32 == object()  # noqa: E711
    assert np.zeros(2, lm.int16).dtype == np.int16 and {lm.float32: 1}[lm.float32] == 1
    assert lm.isdtype(np.float16, "real floating") and lm.isdtype("uint8", ("bool", "unsigned integer"))
    assert lm.isdtype(lm.int8, lm.int8) and not lm.isdtype(lm.int8, "complex floating")


def test_inspection_of_the_namespace():
    info = lm.__array_namespace_info__()
    assert info.default_dtypes()["real floating"] == lm.float32 and info.default_device() == "cpu" and info.devices() == ["cpu"]
    assert set(info.dtypes()) == set(DTYPES) and set(info.dtypes(kind="real floating")) == {"float32", "float64"}
    assert info.capabilities()["data-dependent shapes"] is False


# ---- creation --------------------------------------------------------------------------------------------------------
CREATIONS = {
    "zeros": (lambda: lm.zeros((2, 3)), np.zeros((2, 3))), "ones": (lambda: lm.ones(3), np.ones(3)),
    "empty": (lambda: lm.empty((0, 2)), np.zeros((0, 2))),
    "full": (lambda: lm.full((2,), 1.5), np.full(2, 1.5)), "full_int": (lambda: lm.full((2, 2), 7), np.full((2, 2), 7)),
    "full_bool": (lambda: lm.full((), True), np.array(True)),
    "full_typed": (lambda: lm.full(2, 3, dtype="int8"), np.full(2, 3, np.int8)),
    "zeros_like": (lambda: lm.zeros_like(np.ones((2, 3), np.int16)), np.zeros((2, 3), np.int16)),
    "ones_like": (lambda: lm.ones_like([1.0, 2.0], dtype="float64"), np.ones(2)),
    "full_like": (lambda: lm.full_like([1, 2], 9), np.full(2, 9)),
    "empty_like": (lambda: lm.empty_like(np.ones(2, bool)), np.zeros(2, bool)),
    "arange": (lambda: lm.arange(5), np.arange(5)), "arange_from": (lambda: lm.arange(2, 11, 3), np.arange(2, 11, 3)),
    "arange_down": (lambda: lm.arange(5, -2, -2), np.arange(5, -2, -2)),
    "arange_none": (lambda: lm.arange(3, 1), np.arange(3, 1)),
    "arange_float": (lambda: lm.arange(0, 1, 0.25), np.arange(0, 1, 0.25)),
    "arange_typed": (lambda: lm.arange(4, dtype="uint8"), np.arange(4, dtype="uint8")),
    "linspace": (lambda: lm.linspace(0, 1, 7), np.linspace(0, 1, 7)),
    "linspace_open": (lambda: lm.linspace(1, 3, 4, endpoint=False), np.linspace(1, 3, 4, endpoint=False)),
    "logspace": (lambda: lm.logspace(0, 2, 3), np.logspace(0, 2, 3)), "eye": (lambda: lm.eye(3), np.eye(3)),
    "eye_more": (lambda: lm.eye(2, 4, k=1), np.eye(2, 4, 1)),
    "identity": (lambda: lm.identity(2, dtype="int32"), np.eye(2, dtype=np.int32)),
    "tri": (lambda: lm.tri(3, 4, 1), np.tri(3, 4, 1)),
    "one_hot": (lambda: lm.one_hot([0, 2, -1, 3], 3), np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])),
    "one_hot_first": (lambda: lm.one_hot([0, 2], 3, axis=0, dtype="bool"), np.array([[1, 0], [0, 0], [0, 1]], bool)),
    "asarray": (lambda: lm.asarray([[1, 2.5]]), np.array([[1, 2.5]])),
    "asarray_int": (lambda: lm.asarray([[1], [2]]), np.array([[1], [2]])),
    "asarray_empty": (lambda: lm.asarray([]), np.zeros(0)), "asarray_f64": (lambda: lm.asarray(np.float64(2.0)), np.float64(2.0)),
    "asarray_f64s": (lambda: lm.asarray([np.float64(2.0), 1]), np.array([2.0, 1.0])),
    "array": (lambda: lm.array(True), np.array(True)),
    "from_dlpack": (lambda: lm.from_dlpack(np.arange(3.0)), np.arange(3.0)),
}
STAYS_DOUBLE = {"ones_like", "asarray_f64", "asarray_f64s", "from_dlpack"}


@pytest.mark.parametrize("name", CREATIONS)
def test_creation_agrees_with_numpy_and_is_traced_inside_traces(name):
    function, expected = CREATIONS[name]
    expected = np.asarray(expected)
    if expected.dtype == np.float64 and name not in STAYS_DOUBLE:
        expected = expected.astype(np.float32)
    if name == "one_hot":
        expected = expected.astype(np.float32)
    graph = lm.trace(lambda: function())
    for got in (function(), graph.verify().evaluate()[0]):
        assert got.dtype == expected.dtype and got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert function().flags.writeable or name == "from_dlpack"


def test_grids_agree_with_numpy(agree):
    x, y, z = np.arange(3), np.arange(4.0), np.arange(2)
    for indexing in ("xy", "ij"):
        agree(lambda x, y, z: lm.meshgrid(x, y, z, indexing=indexing), np.meshgrid(x, y, z, indexing=indexing), x, y, z)
    np.testing.assert_array_equal(lm.indices((2, 3)), np.indices((2, 3)))


def test_random_bits_are_a_function_of_key_and_shape(agree):
    key = np.array([1, 2], np.uint32)
    bits = lm.random_bits(key, (3, 5))
    agree(lambda key: lm.random_bits(key, (3, 5)), bits, key)
    assert bits.dtype == np.uint32 and len(np.unique(bits)) == 15
    np.testing.assert_array_equal(lm.random_bits(key, 15), bits.ravel())
    assert (lm.random_bits([1, 3], (3, 5)) != bits).all()


def test_symbolic_creation():
    def f(x):
        n = x.shape[0]
        return lm.arange(1, n, 2), lm.eye(n), lm.zeros((n, 2)), lm.tri(n, 3), lm.full_like(x, 2), lm.linspace(0, lm.sum(x), 5), lm.arange(n, 0, -1)
    graph = lm.trace(f, lm.TensorSpec(("n=1..9",)))
    wanted = [np.arange(1, 6, 2), np.eye(6), np.zeros((6, 2)), np.tri(6, 3), np.full(6, 2), np.linspace(0, 6, 5),
              np.arange(6, 0, -1)]
    for got, want in zip(graph.verify().evaluate(np.ones(6, np.float32)), wanted, strict=True):
        np.testing.assert_allclose(got, want)


def test_devices_other_than_the_cpu_are_refused():
    assert lm.zeros(3, device="cpu").shape == (3,)
    lm.trace(lambda x: x.to_device(x.device), lm.TensorSpec(3))
    for function in (lm.zeros, lm.arange, lm.eye, lm.asarray, lm.zeros_like, lambda x,
                     device: lm.astype(np.ones(x), "int8", device=device)):
        with pytest.raises(lm.UnsupportedError, match="there is no device 'tpu'"):
            function(3, device="tpu")


def test_constants():
    assert (lm.pi, lm.e, lm.inf, lm.newaxis) == (math.pi, math.e, math.inf, None) and math.isnan(lm.nan)
