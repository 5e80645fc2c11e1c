"""How does a call say that it gave a NaN?  By `Options(check_nans=True)` its outputs are looked at, and where one holds
a NaN, the call is computed again with the operators' references until it is known where that NaN comes from."""

from __future__ import annotations

from typing import Callable, NoReturn, Sequence

import numpy as np

from ..compiler.core.errors import NanError, UnsupportedError
from ..compiler.core.location import Location
from ..compiler.core.options import Options
from ..compiler.graph.graph import Graph, Node
from ..runtime.artifact import Artifact
from ..runtime.executable import Executable
from .nans import Birth, births, has_nan

MOST_LOOPS = 4  # around an operator, that a message names


class CheckedExecutable(Executable):
    """An Executable whose calls raise NanError where an output holds a NaN. Its native code is that of every other one.

    No output shares the memory of an argument, so that these are as they were when the error is raised.
    """

    def __init__(self, artifact: Artifact, options: Options, measure_roofline: Callable | None = None):
        super().__init__(artifact, measure_roofline)
        self.options = options

    def __call__(self, *arrays, threads: int = 0) -> tuple[np.ndarray, ...]:
        outputs = super().__call__(*arrays, threads=threads)
        if any(map(has_nan, outputs)):
            raise self._error(self.signature.bind(arrays)[0], outputs)
        return outputs

    def save(self, path) -> NoReturn:
        """UnsupportedError: what is needed to explain a NaN is not in a file."""
        raise refusal()

    def _error(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> NanError:
        graph: Graph = self.artifact.texts["traced"]
        names = self.signature.output_names
        found = [(birth, name) for birth, name, output in zip(births(graph, inputs), names, outputs)
                 if birth is not None and has_nan(output)]
        if found:
            return nan_error(*min(found, key=lambda pair: pair[0].number))
        name = next(name for name, output in zip(names, outputs) if has_nan(output))
        from .bisect import bisect
        said = str(bisect(graph, *inputs, reference="interpreter", options=self.options)).replace("\n", "\n  ")
        return NanError(f"the output {name!r} holds a NaN that the operators' references don't give\n  {said}",
                        output=name, hint="where roundings decide, see which numbers overflow: infinities come first")


def refusal() -> UnsupportedError:
    """Why a program that is checked for NaNs does not leave this process."""
    return UnsupportedError("a program that is checked for NaNs can't be saved or built: what explains one, its graph, "
                            "stays in this process",
                            hint="leave check_nans out, and look for NaNs here or with `lamina run MODEL --check-nans`")


def nan_error(birth: Birth, output: str) -> NanError:
    """The error that tells of a NaN that came to the output of that name."""
    node = birth.node
    holds = f"{birth.count:,} of {birth.size:,} elements {'is a NaN' if birth.count == 1 else 'are NaNs'}"
    at = f", the first at [{', '.join(map(str, birth.index))}]" if birth.index else ""
    if node is None:
        return NanError(f"the output {output!r} holds a NaN that the input {birth.input!r}: {birth.type} brought in\n"
                        f"  {holds}{at}", output=output, type=birth.type, input=birth.input,
                        hint="look at what the caller computes or reads")
    facts = [f"{node.op.name} gives {birth.type}: {holds}{at}{birth.element}"]
    if node.operands:
        facts.append(f"no operand holds a NaN{' there' if birth.operands_have_nans else ''}: "
                     + ", ".join(birth.operands))
    culprit = node
    if birth.infinity is not None:
        culprit = birth.infinity
        facts.append(f"the infinity was born in {culprit.op.name} {_code(culprit)}{_at(culprit.location)}")
    facts += [f"in iteration {iteration} of the {kind}{_at(place)}"
              for kind, place, iteration in birth.loops[-MOST_LOOPS:]]
    hint = "where an operand can reach what has no finite value, keep it away with lm.clip, lm.maximum or an epsilon"
    if not node.operands:
        hint = "a constant of the model holds it"
    elif source := culprit.location.backward_of:
        hint = (f"the derivative of {source} is not finite there: keep its operand away from that; lm.where behind "
                f"{source} comes too late, for zero times infinity is a NaN")
    return NanError(f"the output {output!r} holds a NaN, born in {node.op.name} {_code(node)}\n  " + "\n  ".join(facts),
                    output=output, operator=node.op.name, type=birth.type, backward_of=node.location.backward_of,
                    location=node.location, hint=hint)


def _at(place: Location) -> str:
    return f" at {place}" if str(place) else ""


def _code(node: Node) -> str:
    backward_of = node.location.backward_of
    return f"in the backward code of {backward_of}" if backward_of else "in forward code"
