"""What does a random model with loops and branches look like?  Scans, while loops and switches, nested, over a few
small shapes.

Every value stays within a few units, so that rounding does not grow from step to step.
"""

from __future__ import annotations

import numpy as np

import lamina as lm
from lamina.compiler.graph.graph import Graph

from .generate import Choices

WIDTH, LENGTH = 3, 5  # of the second axis, and of the first where it is no symbol


class Loops:
    """Grows a pool of traced floats of the shapes (), (3,), (n,), (n, 3) and (3, 3)."""

    def __init__(self, choices: Choices):
        self.c = choices

    def grow(self, pool: list, steps: int, depth: int) -> list:
        """`pool` with about `steps` more values; `depth` says how many loops may still stand in one another."""
        for _ in range(steps):
            pool += self.step(pool, depth)
        return pool

    def pick(self, pool, where=lambda x: True):
        found = [x for x in pool if where(x)]
        return self.c.one_of(found) if found else None

    def step(self, pool: list, depth: int) -> list:
        """The results of one more operator, or of a loop."""
        kind = self.c.integer(0, 15 if depth else 10)
        x = self.c.one_of(pool)
        if kind <= 1:
            return [self.c.one_of((lm.tanh, lm.sin, lambda v: v * 0.5, lambda v: 1 - v, lm.square))(lm.clip(x, -2, 2))]
        if kind <= 4:
            rank = len(x.shape)
            y = self.pick(pool, lambda v: len(v.shape) <= rank and v.shape == x.shape[rank - len(v.shape):])
            join = self.c.one_of((lm.add, lm.multiply, lm.maximum, lambda a, b: lm.where(a > 0, a, b - 1)))
            return [lm.tanh(join(x, y))]
        if kind == 5:
            return [lm.mean(x, axis=self.c.integer(0, len(x.shape) - 1))] if x.shape else [lm.broadcast_to(x, (WIDTH,))]
        if kind == 6 and x.shape:
            return [lm.flip(x, axis=0) if self.c.chance(50) else lm.concat([x[1:], x[:1]], axis=0)]
        if kind == 7 and x.shape:
            return [lm.pad(x, [(1, 0)] + [(0, 0)] * (len(x.shape) - 1))[:-1]]
        if kind == 8:
            square = self.pick(pool, lambda v: v.shape == (WIDTH, WIDTH))
            row = self.pick(pool, lambda v: v.shape and v.shape[-1] == WIDTH)
            return [lm.tanh(lm.matmul(row, square))] if square is not None and row is not None else []
        if kind == 9 and len(x.shape) == 2:
            return [x[:, self.c.integer(0, WIDTH - 1)], x[self.c.integer(0, 1)]]
        if kind == 10 and x.shape:
            return [lm.cumulative_sum(x, axis=0) * 0.25]
        if kind <= 12:
            return self.scan(pool, depth - 1) if depth else []
        if kind <= 14:
            return self.loop(pool, depth - 1) if depth else []
        return self.switch(pool, depth - 1) if depth else []

    def like(self, pool: list, x):
        """A value that can take the place of the carry `x`: itself, another one, or a new one."""
        same = [v for v in pool if v.shape == x.shape and v.dtype == x.dtype]
        return self.c.one_of(same) if same and self.c.chance(80) else lm.tanh(x * 0.9 + 0.1)

    def scan(self, pool: list, depth: int) -> list:
        carries = tuple(self.c.one_of(pool) for _ in range(self.c.integer(1, 3)))
        rows = [v for v in pool if v.shape and v.shape[0] == self.length]
        xs = tuple(self.c.one_of(rows) for _ in range(self.c.integer(0, 2))) if rows else ()
        outer = list(pool) if self.c.chance(50) else []

        def body(carry, x):
            inner = self.grow([*carry, *(x or ()), *outer], self.c.integer(1, 5), depth)
            ys = tuple(self.c.one_of(inner) for _ in range(self.c.integer(0, 2)))
            return tuple(self.like(inner, v) for v in carry), ys
        length = None if xs else self.c.integer(0, 3)
        last, ys = lm.scan(body, carries, xs or None, length=length, reverse=self.c.chance(30))
        return [*last, *(lm.mean(y, axis=0) for y in ys)] if not xs else [*last, *(y for y in ys if len(y.shape) <= 2)]

    def loop(self, pool: list, depth: int) -> list:
        carries = tuple(self.c.one_of(pool) for _ in range(self.c.integer(1, 2)))
        limit, bound = self.c.integer(0, 4), 0.5 * self.c.integer(-1, 3)
        outer = list(pool) if self.c.chance(50) else []

        def body(carry):
            inner = self.grow([*carry[1:], *outer], self.c.integer(1, 4), depth)
            return (carry[0] + 1, *(self.like(inner, v) for v in carry[1:]))
        far = self.c.chance(50)

        def condition(carry):
            return (carry[0] < limit) & (lm.mean(carry[1]) < bound if far else carry[0] < 3)
        _, *last = lm.while_loop(condition, body, (lm.asarray(np.int32(0)), *carries))
        return last

    def switch(self, pool: list, depth: int) -> list:
        operands = tuple(self.c.one_of(pool) for _ in range(self.c.integer(1, 3)))
        index = self.index + self.c.integer(-1, 1)
        if self.c.chance(50):
            index = lm.astype(lm.mean(self.c.one_of(pool)) * 4, "int32")
        branches = [lambda *vs: tuple(self.like(self.grow(list(vs), self.c.integer(1, 4), depth), v) for v in vs)
                    for _ in range(self.c.integer(2, 3))]
        return list(lm.switch(index, branches, *operands))

    def model(self, index, x, rows, square):
        """Results of a random model for an int32 scalar and floats of shapes (n, 3), (n,) and (3, 3)."""
        self.index, self.length = index, x.shape[0]
        pool = self.grow([x, rows, square, lm.mean(x)], 5, 2)
        pool = self.grow(pool, 4, 2)
        return tuple(pool[-self.c.integer(1, 5):])


def random_loops(choices: Choices) -> tuple[Graph, list[np.ndarray]]:
    """A graph with loops and branches, and an array for each of its parameters."""
    symbolic = choices.chance(40)
    n = "n" if symbolic else LENGTH
    specs = [lm.TensorSpec((), "int32"), *(lm.TensorSpec(s, "float32") for s in ((n, WIDTH), (n,), (WIDTH, WIDTH)))]
    graph = lm.trace(Loops(choices).model, *specs, dims={"n": (2, 8)} if symbolic else None)
    rng = np.random.default_rng(choices.integer(0, 1 << 16))
    extent = choices.integer(2, 8) if symbolic else LENGTH
    shapes = ((extent, WIDTH), (extent,), (WIDTH, WIDTH))
    index = np.asarray(choices.integer(-1, 3), np.int32)
    return graph, [index, *(rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes)]
