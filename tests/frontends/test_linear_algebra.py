"""Do matrix functions agree with NumPy, at once and traced?"""

import numpy as np
import pytest

import lamina.compiler.core.errors as errors
from lamina.frontends import array as lm

RNG = np.random.default_rng(3)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("a, b", [((3, 5), (5, 7)), ((5,), (5, 7)), ((3, 5), (5,)), ((5,), (5,)), ((2, 3, 5), (5, 7)),
                                  ((2, 3, 5), (2, 5, 7)), ((2, 1, 3, 5), (4, 5, 7)), ((1, 3, 5), (2, 5, 7)),
                                  ((5,), (2, 5, 7)),
                                  ((2, 3, 5), (5,)), ((0, 5), (5, 7)), ((3, 0), (0, 7)), ((1, 1), (1, 1)),
                                  ((1, 3, 1), (1, 1, 7)),
                                  ((2, 3, 1), (2, 1, 7))])
def test_matmul_agrees_with_numpy(a, b, agree):
    x, y = draw(*a), draw(*b)
    agree(lm.matmul, np.matmul(x, y), x, y, atol=1e-5)
    agree(lambda x, y: x @ y, x @ y, x, y, atol=1e-5)


def test_matmul_of_other_dtypes(agree):
    x, y = RNG.integers(-5, 5, (3, 5)).astype(np.int32), RNG.integers(-5, 5, (5, 4)).astype(np.int8)
    agree(lm.matmul, x @ y, x, y)
    agree(lm.matmul, (x > 0) @ (y > 0), x > 0, y > 0)
    agree(lm.matmul, (x @ y).astype(np.float32), x.astype(np.float32), y)


@pytest.mark.parametrize("a, b", [((), ()), ((), (3,)), ((5,), (5,)), ((3, 5), (5,)), ((3, 5), (5, 2)),
                                  ((2, 3, 5), (4, 5, 2))])
def test_dot_agrees_with_numpy(a, b, agree):
    x, y = draw(*a), draw(*b)
    agree(lm.dot, np.dot(x, y), x, y, atol=1e-5)


def test_products_agree_with_numpy(agree):
    x, y = draw(3, 5), draw(4, 5)
    agree(lm.inner, np.inner(x, y), x, y)
    agree(lm.outer, np.outer(x, y), x, y)
    agree(lm.kron, np.kron(x, y), x, y)
    agree(lambda x, y: lm.vecdot(x[:, None], y), np.vecdot(x[:, None], y), x, y)
    agree(lambda x, y: lm.vecdot(x[:, :4], y.T[:3], axis=0), np.vecdot(x[:, :4], y.T[:3], axis=0), x, y)
    agree(lambda x, y: lm.cross(x[:, :3], y[:3, :3]), np.cross(x[:, :3], y[:3, :3]), x, y)


@pytest.mark.parametrize("axes", [0, 1, 2, ((1,), (0,)), ((0, 1), (1, 0)), ((-1, 0), (0, 1))])
def test_tensordot_agrees_with_numpy(axes, agree):
    x, y = draw(4, 4), draw(4, 4)
    agree(lambda x, y: lm.tensordot(x, y, axes=axes), np.tensordot(x, y, axes=axes), x, y, atol=1e-5)


@pytest.mark.parametrize("subscripts, shapes", [
    ("ij,jk->ik", [(3, 5), (5, 7)]), ("ij,jk", [(3, 5), (5, 7)]), ("ij->ji", [(3, 5)]), ("ij->", [(3, 5)]),
    ("ii->i", [(5, 5)]),
    ("ii", [(5, 5)]), ("iji->ij", [(3, 5, 3)]), ("ij,ij->i", [(3, 5), (3, 5)]), ("i,j->ij", [(3,), (5,)]),
    ("...ij,...jk->...ik", [(2, 3, 5), (5, 7)]), ("...i->...", [(2, 3)]), ("i...,i...->...", [(2, 3), (2, 3)]),
    ("ij,jk,kl->il", [(3, 5), (5, 7), (7, 2)]), ("ij,kl,jk->il", [(3, 5), (7, 2), (5, 7)]),
    ("a,b,c->abc", [(2,), (3,), (5,)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 7, 5)]), ("ij,jk->ik", [(3, 1), (5, 7)]), ("b,ij->bji", [(2,), (3, 5)]),
    ("ba,cb", [(2, 3), (5, 2)]), ("ijk,ik->", [(2, 3, 5), (2, 5)]),
])
def test_einsum_agrees_with_numpy(subscripts, shapes, agree):
    arrays = [draw(*s) for s in shapes]
    agree(lambda *a: lm.einsum(subscripts, *a), np.einsum(subscripts, *arrays), *arrays, atol=1e-5)


@pytest.mark.parametrize("offset", [-3, -1, 0, 1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_diagonals_and_triangles_agree_with_numpy(shape, offset, agree):
    x = draw(*shape)
    if -shape[0] <= offset <= shape[1]:
        agree(lambda x: lm.diagonal(x, offset), np.diagonal(x, offset), x)
        agree(lambda x: lm.trace(x, offset), np.trace(x, offset), x)
    agree(lambda x: lm.diag(x[0], offset), np.diag(x[0], offset), x)
    agree(lambda x: lm.tril(x, k=offset), np.tril(x, offset), x)
    agree(lambda x: lm.triu(x, k=offset), np.triu(x, offset), x)


def test_diagonal_of_other_axes(agree):
    x = draw(3, 4, 5)
    agree(lambda x: lm.diagonal(x, 1, 0, 2), np.diagonal(x, 1, 0, 2), x)
    agree(lambda x: lm.matrix_transpose(x), np.matrix_transpose(x), x)
    agree(lambda x: x.mT, np.matrix_transpose(x), x)
    agree(lambda x: x.T, x.T, x)


@pytest.mark.parametrize("ord", [2, 1, 0, 3, np.inf, -np.inf])
def test_vector_norms_agree_with_numpy(ord, agree):
    x = draw(3, 5)
    agree(lambda x: lm.vector_norm(x, axis=1, ord=ord), np.linalg.vector_norm(x, axis=1, ord=ord), x)
    agree(lambda x: lm.vector_norm(x, keepdims=True, ord=ord), np.linalg.vector_norm(x, keepdims=True, ord=ord), x)


@pytest.mark.parametrize("ord", [None, "fro", 1, -1, np.inf, -np.inf])
def test_matrix_norms_agree_with_numpy(ord, agree):
    x = draw(3, 5)
    agree(lambda x: lm.norm(x, ord), np.linalg.norm(x, ord), x)
    agree(lambda x: lm.norm(x, ord, axis=(1, 0), keepdims=True), np.linalg.norm(x, ord, axis=(1, 0), keepdims=True), x)


def test_normalize_divides_by_the_norm_unless_it_is_zero(agree):
    x = np.array([[3, 4], [0, 0]], np.float32)
    agree(lm.normalize, np.array([[0.6, 0.8], [0, 0]], np.float32), x)


@pytest.mark.parametrize("function, message", [
    (lambda x: lm.matmul(x, x), r"shapes \[3, 5\] and \[3, 5\] don't fit: 5 meets 3"),
    (lambda x: lm.matmul(x, 2.0), "multiply by a scalar"),
    (lambda x: lm.tensordot(x, x, axes=1), "don't fit axes"),
    (lambda x: lm.einsum("ij,jk", x), "can't read 'ij,jk' for 1 arrays"),
    (lambda x: lm.einsum("ijk->i", x), "does not fit an array of shape"),
    (lambda x: lm.einsum("ij->k", x), "the result's letters 'k'"),
    (lambda x: lm.norm(x, "nuc"), "no order 'nuc'"),
    (lambda x: lm.cross(x, x), "vectors of 3"),
])
def test_what_does_not_fit_is_named(function, message):
    with pytest.raises(errors.ShapeError, match=message):
        function(draw(3, 5))
