"""Does Winograd's algorithm compute convolutions within its error bound, and only those for which it is chosen?"""

from contextlib import contextmanager

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.codegen.module import kernel_module
from lamina.compiler.codegen.object import compile_assembly
from lamina.compiler.core.options import Options
from lamina.compiler.driver import compile_graph
from lamina.compiler.graph.graph import Graph
from lamina.compiler.kernel.text import parse_kernel, print_kernel
from lamina.compiler.ops.winograd import POINTS, window_transform
from lamina.compiler.plan.interpret import run as interpret
from lamina.compiler.targets.find import all_targets, find_target
from lamina.compiler.templates import winograd_cost
from lamina.runtime.executable import Executable

from ..codegen.test_targets import runs_here
from ..ops.native import OBJECTS
from ..plan.programs import program_of

TARGETS = [t.name for t in all_targets()]
CLOSE = ((1, 1), (1, 1))

#: batch, height, width, channels, outputs, padding: maps of one tile, primes, no multiple of a tile; odd channels.
CASES = [(1, 4, 4, 16, 16, CLOSE), (1, 7, 7, 48, 32, CLOSE), (2, 13, 7, 37, 45, CLOSE), (1, 28, 28, 64, 64, CLOSE),
         (3, 6, 30, 5, 3, CLOSE), (1, 56, 56, 17, 24, CLOSE), (1, 9, 11, 32, 16, ((0, 0), (0, 0))),
         (2, 8, 10, 19, 40, ((2, 1), (0, 3))), (1, 12, 5, 33, 100, CLOSE), (1, 224, 224, 3, 8, CLOSE)]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def graph_of(case, batch=None, weights=None, epilogue=lambda y, x: y) -> Graph:
    """A convolution with constant weights, and `epilogue` of its result."""
    n, h, w, c, k, padding = case
    windows = weights if weights is not None else draw(3, 3, c, k, seed=1)
    spec = lm.TensorSpec((n if batch is None else "batch", h, w, c), str(windows.dtype), "x")
    return lm.trace(lambda x: epilogue(lm.conv(x, windows, padding=padding, layout="NHWC"), x), spec,
                    dims=None if batch is None else {"batch": batch})


@contextmanager
def only(monkeypatch, outputs: int):
    """Within it convolutions take tiles of `outputs` wherever they can, whatever they cost."""
    with monkeypatch.context() as patch:
        patch.setattr(winograd_cost, "POINTS", {outputs: POINTS[outputs]})
        patch.setattr(winograd_cost, "_direct_cost", lambda node, target: 1 << 60)
        yield


def compiled(graph: Graph, **options) -> Executable:
    return Executable(compile_graph(graph, options=Options(**options), cache=OBJECTS))


def is_winograd(executable: Executable) -> bool:
    return "workspace transformed" in executable.text("kernels")


# ---- the error bound ---------------------------------------------------------------------------------------------
def transforms(outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T, B^T and G as polynomials say: values and products of roots at the points, not the compiler's factors."""
    points = [0.0, *(x for a in POINTS[outputs] for x in (a, -a))]
    inputs = np.zeros((outputs + 2, outputs + 2))
    windows = np.zeros((outputs + 2, 3))
    for row, x in enumerate(points):
        others = [p for p in points if p != x]
        inputs[row, :outputs + 1] = np.poly(others)[::-1]
        windows[row] = x ** np.arange(3.0) / np.prod([x - p for p in others])
    inputs[-1] = np.poly(points)[::-1]
    windows[-1] = 0, 0, 1
    results = np.stack([np.array([*(x ** i for x in points), float(i == outputs - 1)]) for i in range(outputs)])
    return results, inputs, windows


def convolve(x: np.ndarray, windows: np.ndarray, padding) -> np.ndarray:
    """The convolution in float64, by its definition."""
    wide = np.pad(x.astype(np.float64), ((0, 0), *padding, (0, 0)))
    h, w = wide.shape[1] - 2, wide.shape[2] - 2
    return sum(wide[:, i:i + h, j:j + w] @ windows[i, j].astype(np.float64) for i in range(3) for j in range(3))


def error_bound(x: np.ndarray, windows: np.ndarray, padding, outputs: int, of_window: int = 1) -> np.ndarray:
    """What rounding may change at most, for each output (docs/decisions/0009-winograd.md): unit roundoff, times the
    roundings on a path (`of_window` of them in the transformed window), times the algorithm on absolute values."""
    results, inputs, filters = (np.abs(m) for m in transforms(outputs))
    n = outputs + 2
    wide = np.abs(np.pad(x.astype(np.float64), ((0, 0), *padding, (0, 0))))
    h, w = wide.shape[1] - 2, wide.shape[2] - 2
    transformed = np.einsum("ia,abck,jb->ijck", filters, np.abs(windows).astype(np.float64), filters)
    bound = np.zeros((x.shape[0], h, w, windows.shape[-1]))
    for top in (min(y, h - outputs) for y in range(0, h, outputs)):
        for left in (min(z, w - outputs) for z in range(0, w, outputs)):
            tile = np.einsum("ia,nabc,jb->nijc", inputs, wide[:, top:top + n, left:left + n], inputs)
            products = np.einsum("nijc,ijck->nijk", tile, transformed)
            mine = bound[:, top:top + outputs, left:left + outputs]
            np.maximum(mine, np.einsum("ai,nijk,bj->nabk", results, products, results), out=mine)
    return (x.shape[-1] + 31 + of_window) * 2.0 ** -24 * bound


@pytest.mark.parametrize("outputs", POINTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_native_code_keeps_the_error_bound(case, outputs, monkeypatch):
    n, h, w, c, k, padding = case
    x, windows = draw(n, h, w, c), draw(3, 3, c, k, seed=1)
    with only(monkeypatch, outputs):
        executable = compiled(graph_of(case))
    assert is_winograd(executable)
    assert executable.memory.arena_bytes == executable.memory.lower_bound
    (y,) = executable(x, threads=1)
    expected, bound = convolve(x, windows, padding), error_bound(x, windows, padding, outputs)
    assert (np.abs(y - expected) <= bound).all()
    assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max(), "far below the bound in practice"
    for threads in (2, 7):
        np.testing.assert_array_equal(executable(x, threads=threads)[0], y)


@pytest.mark.parametrize("outputs", POINTS)
def test_matrices_are_minimal_filtering(outputs):
    results, inputs, filters = transforms(outputs)
    np.testing.assert_allclose(window_transform(outputs), filters, rtol=1e-14, atol=0)
    d, g = draw(outputs + 2, seed=2).astype("float64"), draw(3, seed=3).astype("float64")
    np.testing.assert_allclose(results @ ((filters @ g) * (inputs @ d)), np.correlate(d, g, "valid"), rtol=1e-12)


# ---- windows that are known when it runs -------------------------------------------------------------------------
def is_transformed(executable: Executable) -> bool:
    """Whether the windows of its one convolution are transformed in a run."""
    return is_winograd(executable) and sum("transform" in k["kernel"] for k in executable.kernels) == 1


@pytest.mark.parametrize("outputs", POINTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_windows_of_a_run_keep_the_error_bound(case, outputs, monkeypatch):
    n, h, w, c, k, padding = case
    x, windows = draw(n, h, w, c), draw(3, 3, c, k, seed=1)
    graph = lm.trace(lambda x, w: lm.conv(x, w, padding=padding, layout="NHWC"), lm.TensorSpec(x.shape), lm.TensorSpec(windows.shape))
    with only(monkeypatch, outputs):
        executable = compiled(graph)
    assert is_transformed(executable)
    (y,) = executable(x, windows, threads=1)
    assert (np.abs(y - convolve(x, windows, padding)) <= error_bound(x, windows, padding, outputs, of_window=11)).all()
    np.testing.assert_array_equal(executable(x, windows, threads=2)[0], y)


def test_gradients_take_it_and_windows_are_transformed_once_for_each_product(monkeypatch):
    """Channels first, as users write; the gradient by the input convolves with the flipped windows."""
    x, windows, g = draw(2, 16, 12, 12), draw(24, 16, 3, 3, seed=1), draw(2, 24, 12, 12, seed=2)

    def loss(x, w):
        return lm.sum(lm.conv(x, w, padding=CLOSE) * g)
    graph = lm.trace(lm.value_and_grad(loss, argnums=(0, 1)), lm.TensorSpec(x.shape), lm.TensorSpec(windows.shape))
    with only(monkeypatch, 4):
        executable = compiled(graph)
    kernels = [k["kernel"] for k in executable.kernels]
    assert sum("transform" in name for name in kernels) == 2
    for got, expected in zip(executable(x, windows), graph.evaluate(x, windows), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())


def test_windows_of_a_loop_s_step_are_transformed_in_it(monkeypatch):
    x, windows = draw(1, 8, 8, 6), draw(4, 3, 3, 6, 6, seed=1) / 8
    graph = lm.trace(lambda x, ws: lm.scan(lambda x, w: (lm.conv(x, w, padding=CLOSE, layout="NHWC"), None), x, ws)[0],
                     lm.TensorSpec(x.shape), lm.TensorSpec(windows.shape))
    with only(monkeypatch, 2):
        executable = compiled(graph)
    assert is_transformed(executable)
    np.testing.assert_allclose(executable(x, windows)[0], graph.evaluate(x, windows)[0], atol=1e-4)


def test_windows_that_something_else_reads_are_not_its_group_s_own():
    """The weights are the convolution's and the epilogue's: they stay as they are, and the product is direct."""
    specs = lm.TensorSpec((3, 12, 12, 8)), lm.TensorSpec((3, 3, 8, 8))
    graph = lm.trace(lambda x, w: lm.conv(x, w, padding=CLOSE, layout="NHWC") * w[1, 1, 0, 0], *specs)
    executable = compiled(graph)
    arrays = draw(3, 12, 12, 8), draw(3, 3, 8, 8, seed=1)
    np.testing.assert_allclose(executable(*arrays)[0], graph.evaluate(*arrays)[0], atol=1e-4)


# ---- what is around it -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("outputs", POINTS)
@pytest.mark.parametrize("epilogue", ["bias, residual, clamp", "gelu", "two results"])
def test_epilogue_is_spliced_in(epilogue, outputs, monkeypatch):
    bias, residual = draw(40, seed=4), draw(2, 13, 6, 40, seed=5)
    forms = {"bias, residual, clamp": lambda y, r: lm.relu(y + bias + r), "gelu": lambda y, r: lm.gelu(y + bias) * r,
             "two results": lambda y, r: (y + bias, lm.relu(y + r))}
    specs = lm.TensorSpec((2, 13, 6, 24), "float32"), lm.TensorSpec((2, 13, 6, 40), "float32")
    windows = draw(3, 3, 24, 40, seed=1)
    graph = lm.trace(lambda x, r: forms[epilogue](lm.conv(x, windows, padding=CLOSE, layout="NHWC"), r), *specs)
    with only(monkeypatch, outputs):
        executable = compiled(graph)
    assert is_winograd(executable)
    assert sum("conv" in k["kernel"] for k in executable.kernels) == 1
    arrays = draw(2, 13, 6, 24), residual
    for got, expected in zip(executable(*arrays), graph.evaluate(*arrays), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("batch, tried", [((1, 3), (1, 2, 3)), ((0, 512), (0, 1, 5, 64))])
def test_symbolic_batch(batch, tried, monkeypatch):
    case = (1, 10, 7, 12, 20, CLOSE)
    windows = draw(3, 3, 12, 20, seed=1)
    for outputs in POINTS:
        with only(monkeypatch, outputs):
            executable = compiled(graph_of(case, batch=batch))
        assert is_winograd(executable)
        for n in tried:
            x = draw(n, 10, 7, 12)
            (y,) = executable(x, threads=1)
            np.testing.assert_array_equal(executable(x, threads=2)[0], y)
            assert (np.abs(y - convolve(x, windows, CLOSE)) <= error_bound(x, windows, CLOSE, outputs)).all()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("outputs", POINTS)
def test_every_level_of_the_program_computes_it(target, outputs, monkeypatch):
    case = (2, 5, 6, 3, 10, CLOSE)
    graph = graph_of(case, epilogue=lambda y, x: lm.relu(y))
    with only(monkeypatch, outputs):
        program = program_of(graph, target=target)
        artifact = compile_graph(graph, options=Options(target=target), cache=OBJECTS)
    kernels = [k for k in program.kernels if "conv" in k.name]
    assert [print_kernel(parse_kernel(print_kernel(k))) for k in kernels] == [print_kernel(k) for k in kernels]
    x = draw(2, 5, 6, 3)
    expected = np.maximum(convolve(x, draw(3, 3, 3, 10, seed=1), CLOSE), 0)
    (interpreted,) = interpret(program, [x])
    np.testing.assert_allclose(interpreted, expected, atol=2e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(interpret(program, [x], backwards=True)[0], interpreted)
    if runs_here(target):
        np.testing.assert_allclose(Executable(artifact)(x)[0], expected, atol=1e-5 * np.abs(expected).max())


def test_what_is_not_finite_stays_in_its_tiles(monkeypatch):
    case = (1, 16, 16, 4, 8, CLOSE)
    x = draw(1, 16, 16, 4)
    with only(monkeypatch, 4):
        executable = compiled(graph_of(case))
    (clean,) = executable(x)
    x[0, 6, 9, 2] = np.inf
    (y,) = executable(x)
    assert not np.isfinite(y[0, 5:8, 8:11]).any()
    far = np.ones((16, 16), bool)
    far[4:8, 8:12] = False
    np.testing.assert_array_equal(y[0, far], clean[0, far])


def test_large_numbers_do_not_overflow_early(monkeypatch):
    case = (1, 8, 8, 4, 8, CLOSE)
    with only(monkeypatch, 4):
        executable = compiled(graph_of(case))
    assert np.isfinite(executable(draw(1, 8, 8, 4) * np.float32(1e36))[0]).all()


# ---- the choice --------------------------------------------------------------------------------------------------
def remark_of(executable: Executable) -> str:
    return next((line for line in executable.text("remarks").splitlines() if "Winograd" in line), "")


def test_choice_is_a_remark_with_what_each_way_would_cost():
    large = compiled(graph_of((1, 28, 28, 64, 64, CLOSE)), target="x86-64-v3")
    assert ": done: F(4x4, 3x3) is the cheapest" in remark_of(large)
    assert "direct 29.2, F(2x2, 3x3) 15.9, F(4x4, 3x3) 10.5" in remark_of(large)
    assert is_winograd(large)
    deep = compiled(graph_of((1, 7, 7, 512, 512, CLOSE)), target="x86-64-v3")
    assert "F(2x2, 3x3) is the cheapest" in remark_of(deep), "weights come from memory, for few tiles"
    small = compiled(graph_of((1, 1, 9, 8, 8, CLOSE)))
    assert "not done: direct is the cheapest" in remark_of(small) and not is_winograd(small)


def test_it_can_be_switched_off():
    executable = compiled(graph_of((1, 28, 28, 64, 64, CLOSE)), winograd=False)
    assert not is_winograd(executable) and "Options.winograd" in remark_of(executable)
    assert Options(winograd=False).key() != Options().key()


@pytest.mark.parametrize("dtype, shown", [("float64", "f64"), ("float16", "f16")])
def test_other_dtypes_are_direct(dtype, shown):
    case = (1, 12, 12, 16, 16, CLOSE)
    executable = compiled(graph_of(case, weights=draw(3, 3, 16, 16, seed=1).astype(dtype)))
    assert not is_winograd(executable) and f"not done: {shown} is computed directly" in remark_of(executable)


@pytest.mark.parametrize("form", [{"strides": 2}, {"dilation": 2}, {"groups": 4}, {"strides": (1, 2)}], ids=str)
def test_other_forms_are_direct(form):
    windows = draw(16, 16 // form.get("groups", 1), 3, 3)
    executable = compiled(lm.trace(lambda x: lm.conv(x, windows, **form), lm.TensorSpec((1, 16, 12, 12))))
    assert not is_winograd(executable) and ("groups" in form) == bool(remark_of(executable))


def test_one_output_is_direct():
    executable = compiled(graph_of((1, 12, 12, 3, 1, CLOSE)))
    assert not is_winograd(executable) and "it has one output" in remark_of(executable)
    x = draw(1, 12, 12, 3)
    np.testing.assert_allclose(executable(x)[0], convolve(x, draw(3, 3, 3, 1, seed=1), CLOSE), atol=1e-5)


def test_other_windows_are_direct():
    executable = compiled(lm.trace(lambda x: lm.conv(x, draw(16, 16, 5, 3)), lm.TensorSpec((1, 16, 12, 12))))
    assert not is_winograd(executable) and not remark_of(executable)


def test_long_epilogues_leave_the_registers_to_the_tile():
    target = find_target("x86-64-v4")
    graph = graph_of((1, 28, 28, 64, 64, CLOSE), epilogue=lambda y, x: lm.gelu(y))
    program = program_of(graph, target=target.name)
    (kernel,) = (k for k in program.kernels if "conv" in k.name)
    assembly = compile_assembly(kernel_module(kernel, target, "kernel"), target)
    assert assembly.count("kernel.f") >= 2, "the epilogue is a function of its own"
