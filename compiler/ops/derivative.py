"""Which calls say how they are differentiated?  With a rule of their own, or by computing their body again."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.types import TensorType
from ..graph.builder import Builder, inline
from ..graph.graph import Graph
from .batching import batch_graph, batched_graph, batched_type, with_batch
from .control import Closed, param_types, require_types, result_types, scaled_sum
from .elementwise import Add, Mul, Neg, Sub
from .op import Sample, shape_error
from .reduce import Reduce
from .sample_arrays import draw

POLICIES = ("nothing_saveable", "dots_saveable", "dots_with_no_batch_dims_saveable", "everything_saveable")


def float_types(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    return tuple(t for t in types if t.dtype.is_float)


@dataclass(frozen=True)
class Checkpoint(Closed):
    """The results of `body`, of which reverse mode keeps what `policy` says, and computes the rest again.

    Policies: "nothing_saveable"; "dots_saveable", the results of contractions and convolutions;
    "dots_with_no_batch_dims_saveable", those of contractions without batch letters; "everything_saveable".
    (Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", 2016; the names are JAX's.)
    """

    body: Graph
    policy: str = "nothing_saveable"

    def infer(self, *types):
        if self.policy not in POLICIES:
            raise shape_error(self, f"policy {self.policy!r} is none of {', '.join(POLICIES)}", *types)
        return super().infer(*types)

    def vmap(self, builder, operands, is_batched, size):
        return builder.emit_all(Checkpoint(batched_graph(self.body, is_batched, size)[0], self.policy), *operands)

    @classmethod
    def samples(cls):
        return [Sample(cls(scaled_sum(shape, d), policy), (draw(d, *shape), draw(d, *shape, seed=1)))
                for shape, d, policy in (((3, 17), "float32", POLICIES[0]), ((3, 5), "float64", POLICIES[0]),
                                         ((5,), "float64", POLICIES[1]), ((0,), "float64", POLICIES[3]))]


@dataclass(frozen=True)
class CustomVjp(Closed):
    """The results of `body`, with a rule for reverse mode, for all operands but the last `captured` ones.

    `forward`: (operands..) -> (results.., residuals..). `backward`: (captured.., residuals.., a cotangent for each
    float result) -> (a cotangent for each float operand that is not captured).
    """

    body: Graph
    forward: Graph
    backward: Graph
    captured: int = 0

    def infer(self, *types):
        results = super().infer(*types)
        require_types(self, "operands of the forward rule", param_types(self.forward), types)
        saved = result_types(self.forward)
        require_types(self, "results of the forward rule", results, saved[:len(results)])
        own = len(types) - self.captured
        require_types(self, "operands of the backward rule", param_types(self.backward),
                      (*types[own:], *saved[len(results):], *float_types(results)))
        require_types(self, "results of the backward rule", float_types(types[:own]), result_types(self.backward))
        return results

    def vmap(self, builder, operands, is_batched, size):
        """The rule for each set: every result is batched, for its cotangents are, whatever it depends on. The cotangent
        of an operand that all sets share is the sum of theirs."""
        flags, own, results = list(is_batched), len(operands) - self.captured, self.body.results
        body, _ = batched_graph(self.body, flags, size, [True] * len(results))
        forward, ahead = batched_graph(self.forward, flags, size, [True] * len(results))
        given = [*flags[own:], *ahead[len(results):], *(True for r in results if r.dtype.is_float)]
        back = Builder(self.backward.name)
        params = [back.parameter(batched_type(p.type, flag, size), p.name) for p, flag in zip(self.backward.params, given)]
        found = zip(*batch_graph(back, self.backward, params, given, size))
        wanted = [flag for flag, o in zip(flags, operands[:own]) if o.dtype.is_float]
        backward = back.finish([back.emit(Reduce("sum", (0,)), g) if differs and not want
                                else with_batch(back, g, differs or not want, size)
                                for (g, differs), want in zip(found, wanted)])
        return builder.emit_all(CustomVjp(body, forward, backward, self.captured), *operands)

    @classmethod
    def samples(cls):
        return [Sample(cls(scaled_sum(shape, d), *_scaled_sum_rules(shape, d)),
                       (draw(d, *shape), draw(d, *shape, seed=1)))
                for shape, d in (((3, 17), "float32"), ((3, 5), "float64"), ((0,), "float64"))]


@dataclass(frozen=True)
class CustomJvp(Closed):
    """The results of `body`, with a rule for derivatives, for all operands but the last `captured` ones.

    `tangent`: (operands.., a tangent for each float operand that is not captured) -> (results.., a tangent for each
    float result), linear in the tangents. Reverse mode transposes it.
    """

    body: Graph
    tangent: Graph
    captured: int = 0

    def infer(self, *types):
        results = super().infer(*types)
        own = types[:len(types) - self.captured]
        require_types(self, "operands of the rule", param_types(self.tangent), (*types, *float_types(own)))
        require_types(self, "results of the rule", (*results, *float_types(results)), result_types(self.tangent))
        return results

    def vmap(self, builder, operands, is_batched, size):
        flags, own = list(is_batched), len(operands) - self.captured
        count = len(self.body.results)
        given = [*flags, *(flag for flag, o in zip(flags, operands[:own]) if o.dtype.is_float)]
        found = batched_graph(self.tangent, given, size)[1]
        moved = iter(found[count:])
        results = [any((a, b, r.dtype.is_float and next(moved)))
                   for a, b, r in zip(batched_graph(self.body, flags, size)[1], found, self.body.results)]
        moved = [flag for flag, r in zip(results, self.body.results) if r.dtype.is_float]
        return builder.emit_all(CustomJvp(batched_graph(self.body, flags, size, results)[0],
                                          batched_graph(self.tangent, given, size, [*results, *moved])[0], self.captured),
                                *operands)

    @classmethod
    def samples(cls):
        return [Sample(cls(scaled_sum(shape, d), _scaled_sum_tangent(shape, d)),
                       (draw(d, *shape), draw(d, *shape, seed=1)))
                for shape, d in (((3, 17), "float32"), ((3, 5), "float64"), ((0,), "float64"))]


# ---- rules to try these with -----------------------------------------------------------------------------------------
def _scaled_sum_rules(shape, dtype) -> tuple[Graph, Graph]:
    body = scaled_sum(shape, dtype)
    b = Builder("scaled_sum_forward")
    x, y = (b.parameter(p.type, p.name) for p in body.params)
    forward = b.finish([*inline(b, body, [x, y]), x, b.emit(Add(), x, y)])
    b = Builder("scaled_sum_backward")
    x, total, first, second = (b.parameter(body.params[0].type, name) for name in ("x", "total", "first", "second"))
    by_total = b.emit(Sub(), b.emit(Mul(), first, x), second)
    return forward, b.finish([b.emit(Add(), by_total, b.emit(Mul(), first, total)), by_total])


def _scaled_sum_tangent(shape, dtype) -> Graph:
    body = scaled_sum(shape, dtype)
    b = Builder("scaled_sum_tangent")
    x, y, dx, dy = (b.parameter(body.params[0].type, name) for name in ("x", "y", "dx", "dy"))
    change = b.emit(Add(), dx, dy)
    first = b.emit(Add(), b.emit(Mul(), change, x), b.emit(Mul(), b.emit(Add(), x, y), dx))
    return b.finish([*inline(b, body, [x, y]), first, b.emit(Neg(), change)])
