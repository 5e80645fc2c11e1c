"""How is a layer tried?  With PyTorch's weights against PyTorch's layer: at once, and compiled for any batch."""

import numpy as np
import pytest

import lamina as lm


def as_numpy(result):
    """Results of PyTorch as trees of NumPy arrays."""
    if isinstance(result, tuple):
        return tuple(map(as_numpy, result))
    return result.detach().numpy()


def compare(got, expected, atol):
    got, expected = lm.tree.leaves(got), lm.tree.leaves(expected)
    assert len(got) == len(expected)
    for g, e in zip(got, expected):
        assert tuple(g.shape) == e.shape and np.dtype(g.dtype) == e.dtype
        np.testing.assert_allclose(g, e, rtol=2e-5, atol=atol)


@pytest.fixture
def like_torch():
    """like_torch(ours, theirs, *arrays, batch=axis): our layer with the weights of their layer gives what theirs gives,
    at once, and compiled with the extent of `batch` symbolic (None: compiled for these shapes)."""
    torch = pytest.importorskip("torch")

    def check(ours, theirs, *arrays, batch=0, atol=2e-6, call=None, **kwargs):
        ours = lm.nn.load_state_dict(ours, theirs.state_dict())
        theirs.eval()
        expected = as_numpy((call or theirs)(*(torch.from_numpy(a) for a in arrays)))
        compare(ours(*arrays, **kwargs), expected, atol)
        shapes = [tuple("batch" if axis == batch and d > 0 else d for axis, d in enumerate(a.shape)) for a in arrays]
        specs = [lm.TensorSpec(shape, a.dtype) for shape, a in zip(shapes, arrays)]
        compare(lm.compile(lambda *xs: ours(*xs, **kwargs), *specs)(*arrays), expected, atol)
    return check
