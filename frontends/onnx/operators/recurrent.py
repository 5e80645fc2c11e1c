"""Recurrent networks: one product for the inputs of all time steps, then a scan over the hidden state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from ....compiler.core.dtypes import int64
from ....compiler.ops import Contract, Sigmoid
from ... import array as lm
from ...array.operands import as_array, cast, dtype_of
from ...array.tracer import emit
from ..table import Refusal, operator
from . import activation as act
from .arithmetic import clip
from .shape import broadcast_to, piece, reshape_to, transposed
from .values import choice

#: Activation -> function of (x, alpha, beta), and ONNX's default alpha and beta.
_ACTIVATIONS: dict[str, tuple[Callable, float, float]] = {
    "relu": (lambda x, a, b: act.relu(x), 0, 0), "tanh": (lambda x, a, b: lm.tanh(x), 0, 0),
    "sigmoid": (lambda x, a, b: emit(Sigmoid(), x), 0, 0), "affine": (lambda x, a, b: x * a + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: act.leaky_relu(x, alpha=a), 0.01, 0),
    "thresholdedrelu": (lambda x, a, b: act.thresholded_relu(x, alpha=a), 1.0, 0),
    "scaledtanh": (lambda x, a, b: lm.tanh(x * b) * a, 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: act.hard_sigmoid(x, alpha=a, beta=b), 0.2, 0.5),
    "elu": (lambda x, a, b: act.elu(x, alpha=a), 1.0, 0), "softsign": (lambda x, a, b: act.softsign(x), 0, 0),
    "softplus": (lambda x, a, b: act.softplus(x), 0, 0),
}


@dataclass(frozen=True)
class Layer:
    """What RNN, GRU and LSTM share: directions, activations per direction, the clip of their arguments, the layout."""

    directions: tuple[str, ...]
    activations: tuple[tuple[Callable, ...], ...]
    clip: float | None
    is_batch_first: bool

    def bounded(self, x):
        """`x` within the layer's clip."""
        if self.clip is None:
            return x
        dtype = dtype_of(x)
        return clip(x, as_array(-self.clip, dtype), as_array(self.clip, dtype))


def _layer(defaults: Sequence[str], activations, activation_alpha, activation_beta, clip, direction, layout) -> Layer:
    choice(direction, ("forward", "reverse", "bidirectional"), "direction")
    directions = ("forward", "reverse") if direction == "bidirectional" else (direction,)
    names = list(activations or defaults * len(directions))
    if len(names) < len(defaults) * len(directions):
        raise Refusal(f"{len(names)} activations for {len(directions)} directions of {len(defaults)}")
    alphas, betas = list(activation_alpha or ()), list(activation_beta or ())
    functions = []
    for name in names[:len(defaults) * len(directions)]:
        function, alpha, beta = _ACTIVATIONS.get(name.lower(), (None, 0, 0))
        if function is None:
            raise Refusal(f"the activation {name!r}")
        alpha = alphas.pop(0) if alphas and name.lower() in _TAKES_ALPHA else alpha
        beta = betas.pop(0) if betas and name.lower() in _TAKES_BETA else beta
        functions.append(lambda x, f=function, a=alpha, b=beta: f(x, a, b))
    width = len(defaults)
    return Layer(directions, tuple(tuple(functions[i:i + width]) for i in range(0, len(functions), width)), clip,
                 bool(layout))


_TAKES_ALPHA = ("affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu")
_TAKES_BETA = ("affine", "scaledtanh", "hardsigmoid")


def _run(layer: Layer, x, w, r, bias, extra, lengths, states, cell: Callable):
    """The outputs Y [T, D, B, H] and the last states [D, B, H] of every direction.

    `cell(layer, functions, inputs, state, r, extra)` gives the new state for one step, where inputs [B, G] is the
    step's slice of x @ w + bias; `states` are the initial ones (None: zeros); `bias` and `extra` are [D, ...] or None.
    """
    if layer.is_batch_first:
        x = transposed(x, (1, 0, 2))
        states = [None if s is None else transposed(s, (1, 0, 2)) for s in states]
    steps, batch, hidden = x.shape[0], x.shape[1], r.shape[-1]
    if lengths is not None and isinstance(lengths, np.ndarray) and (lengths == steps).all():
        lengths = None
    outputs, last = [], []
    for d, direction in enumerate(layer.directions):
        inputs = emit(Contract("tbi,gi->tbg"), x, _row(w, d))
        inputs = inputs if bias is None else inputs + _row(bias, d)
        initial = tuple(broadcast_to(np.zeros((), dtype_of(x).numpy), (batch, hidden)) if s is None else _row(s, d)
                        for s in states)
        step = _step(layer, layer.activations[d], _row(r, d), None if extra is None else _row(extra, d), lengths, cell)
        times = () if lengths is None else (lm.arange(steps),)
        final, ys = lm.scan(step, initial, (inputs, *times), reverse=direction == "reverse")
        outputs.append(ys)
        last.append(final)
    y = lm.stack(outputs, axis=1)
    finals = [lm.stack([f[i] for f in last], axis=0) for i in range(len(states))]
    if layer.is_batch_first:
        return transposed(y, (2, 0, 1, 3)), *(transposed(f, (1, 0, 2)) for f in finals)
    return y, *finals


def _row(x, d: int):
    """x[d] as a reshape where there is one direction only."""
    return reshape_to(piece(x, 0, d, 1), tuple(x.shape[1:]))


def _step(layer: Layer, functions, r, extra, lengths, cell: Callable) -> Callable:
    """The body of the scan. Where sequences have `lengths`, a sequence that is over keeps its state and gives zeros."""
    def step(state, scanned):
        new = cell(layer, functions, scanned[0], state, r, extra)
        if lengths is None:
            return new, new[0]
        inside = lm.expand_dims(scanned[1] < cast(lengths, int64), 1)
        kept = tuple(lm.where(inside, n, old) for n, old in zip(new, state))
        return kept, lm.where(inside, new[0], lm.zeros_like(new[0]))
    return step


def _product(h, r):
    """h [B, H] @ r [G, H] transposed."""
    return emit(Contract("bh,gh->bg"), h, r)


def _gates(x, count: int) -> list:
    size = x.shape[-1] // count
    return [piece(x, len(x.shape) - 1, i * size, size) for i in range(count)]


@operator("RNN", 1, ignored=("hidden_size", "output_sequence"))
def rnn(x, w, r, b=None, sequence_lens=None, initial_h=None, *, activations=None, activation_alpha=None,
        activation_beta=None, clip=None, direction="forward", layout=0):
    """x [T, B, I], w [D, H, I], r [D, H, H], b [D, 2H]. Specification: ONNX RNN."""
    layer = _layer(("Tanh",), activations, activation_alpha, activation_beta, clip, direction, layout)

    def cell(layer, functions, inputs, state, r, _):
        return (functions[0](layer.bounded(inputs + _product(state[0], r))),)
    return _run(layer, x, w, r, _summed_bias(b), None, sequence_lens, [initial_h], cell)


def _summed_bias(b):
    """[D, 2 * gates * H] as the sum of its halves, [D, gates * H]: input and hidden biases only ever meet added."""
    if b is None:
        return None
    half = b.shape[1] // 2
    return piece(b, 1, 0, half) + piece(b, 1, half, half)


@operator("LSTM", 1, ignored=("hidden_size", "output_sequence"))
def lstm(x, w, r, b=None, sequence_lens=None, initial_h=None, initial_c=None, p=None, *, activations=None,
         activation_alpha=None, activation_beta=None, clip=None, direction="forward", input_forget=0, layout=0):
    """x [T, B, I], w [D, 4H, I], r [D, 4H, H], b [D, 8H], peepholes p [D, 3H]; gates i, o, f, c. Source: ONNX LSTM."""
    layer = _layer(("Sigmoid", "Tanh", "Tanh"), activations, activation_alpha, activation_beta, clip, direction, layout)

    def cell(layer, functions, inputs, state, r, peepholes):
        f, g, h = functions
        hidden, memory = state
        i, o, forget, c = _gates(inputs + _product(hidden, r), 4)
        if peepholes is not None:
            pi, po, pf = _gates(peepholes, 3)
            i, forget = i + pi * memory, forget + pf * memory
        i = f(layer.bounded(i))
        forget = 1.0 - i if input_forget else f(layer.bounded(forget))
        memory = forget * memory + i * g(layer.bounded(c))
        if peepholes is not None:
            o = o + po * memory
        return f(layer.bounded(o)) * h(memory), memory
    return _run(layer, x, w, r, _summed_bias(b), p, sequence_lens, [initial_h, initial_c], cell)


@operator("GRU", 1, ignored=("hidden_size", "output_sequence"))
def gru(x, w, r, b=None, sequence_lens=None, initial_h=None, *, activations=None, activation_alpha=None,
        activation_beta=None, clip=None, direction="forward", linear_before_reset=0, layout=0):
    """x [T, B, I], w [D, 3H, I], r [D, 3H, H], b [D, 6H]; gates z, r, h. Specification: ONNX GRU."""
    layer = _layer(("Sigmoid", "Tanh"), activations, activation_alpha, activation_beta, clip, direction, layout)

    width, extra = r.shape[-1], None
    if b is not None and linear_before_reset:
        extra = piece(b, 1, 5 * width, width)
        hidden_bias = lm.concatenate([piece(b, 1, 3 * width, 2 * width), lm.zeros_like(extra)], axis=1)
        bias = piece(b, 1, 0, 3 * width) + hidden_bias
    else:
        bias = _summed_bias(b)

    def cell(layer, functions, inputs, state, r, of_candidate):
        f, g = functions
        (hidden,) = state
        xz, xr, xh = _gates(inputs, 3)
        if linear_before_reset:
            hz, hr, hh = _gates(_product(hidden, r), 3)
            hh = hh if of_candidate is None else hh + of_candidate
        else:
            hz, hr = _gates(_product(hidden, piece(r, 0, 0, 2 * width)), 2)
        z, reset = f(layer.bounded(xz + hz)), f(layer.bounded(xr + hr))
        candidate = reset * hh if linear_before_reset else _product(reset * hidden, piece(r, 0, 2 * width, width))
        return ((1.0 - z) * g(layer.bounded(xh + candidate)) + z * hidden,)
    return _run(layer, x, w, r, bias, extra, sequence_lens, [initial_h], cell)
