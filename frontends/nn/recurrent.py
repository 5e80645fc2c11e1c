"""Which layers go along a sequence with a state?  RNN, LSTM and GRU: stacked, in both directions, of packed lengths.

Names and the layout of weights are PyTorch's: `weight_ih_l0` [gates * hidden, input], `weight_hh_l0` [gates * hidden,
hidden], two biases, "_reverse" behind those of the second direction. The loop over time is `lm.scan`; what comes from
the inputs is computed for all steps in one product before it.
"""

from __future__ import annotations

from .. import array as lm
from .. import random
from ..array.operands import Array, as_array, as_floating, dtype_of, shape_text
from ..array.tracer import shape_error, trace_error
from .dropout import Dropout
from .initializers import uniform_bound
from .module import Module

State = tuple[Array, ...]
NONLINEARITIES = {"tanh": lm.tanh, "relu": lm.relu}


class _Cell(Module):
    """What one step of each kind of network is, and how its weights begin."""

    gates = 1  # how many blocks of rows the weights have
    states = 1  # how many arrays a state is
    adds_biases = True  # whether the state's part is only ever added to the input's

    def _step(self, state: State, of_input: Array, of_state: Array) -> State:
        """The next state from the products of the input and of the state's first part with the weights."""
        raise NotImplementedError

    def _draw(self, key, input_size: int, suffix: str, dtype) -> None:
        rows = self.gates * self.hidden_size
        draw = uniform_bound(self.hidden_size)
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, self.hidden_size), "bias_ih": (rows,),
                  "bias_hh": (rows,)}
        for one, (name, shape) in zip(random.split(key, 4), shapes.items()):
            setattr(self, name + suffix, draw(one, shape, dtype) if self.bias or "weight" in name else None)

    def _of_input(self, x: Array, suffix: str) -> Array:
        product = lm.matmul(x, lm.matrix_transpose(getattr(self, f"weight_ih{suffix}")))
        if not self.bias:
            return product
        bias = getattr(self, f"bias_ih{suffix}")
        return lm.add(product, lm.add(bias, getattr(self, f"bias_hh{suffix}")) if self.adds_biases else bias)

    def _of_state(self, h: Array, suffix: str) -> Array:
        product = lm.matmul(h, lm.matrix_transpose(getattr(self, f"weight_hh{suffix}")))
        return lm.add(product, getattr(self, f"bias_hh{suffix}")) if self.bias and not self.adds_biases else product

    def _as_state(self, initial, shape: tuple, dtype) -> State:
        """The initial state as a tuple: zeros where it is None."""
        if initial is None:
            return tuple(lm.zeros(shape, dtype) for _ in range(self.states))
        parts = (initial,) if self.states == 1 else tuple(initial)
        parts = tuple(lm.astype(as_array(part), dtype) for part in parts)
        if [tuple(part.shape) for part in parts] != [shape] * self.states:
            found = ", ".join(shape_text(part.shape) for part in parts)
            raise shape_error(f"{type(self).__name__}'s initial state has {found}: {self.states} of "
                              f"{shape_text(shape)} expected")
        return parts

    def _from_state(self, state: State):
        return state[0] if self.states == 1 else state


class _Rnn(_Cell):
    def _step(self, state, of_input, of_state):
        return (NONLINEARITIES[self.nonlinearity](lm.add(of_input, of_state)),)


class _Lstm(_Cell):
    gates = 4
    states = 2

    def _step(self, state, of_input, of_state):
        i, f, g, o = lm.split(lm.add(of_input, of_state), 4, axis=-1)
        c = lm.add(lm.multiply(lm.sigmoid(f), state[1]), lm.multiply(lm.sigmoid(i), lm.tanh(g)))
        return lm.multiply(lm.sigmoid(o), lm.tanh(c)), c


class _Gru(_Cell):
    gates = 3
    adds_biases = False

    def _step(self, state, of_input, of_state):
        (r, z, n), (hr, hz, hn) = lm.split(of_input, 3, axis=-1), lm.split(of_state, 3, axis=-1)
        r, z = lm.sigmoid(lm.add(r, hr)), lm.sigmoid(lm.add(z, hz))
        n = lm.tanh(lm.add(n, lm.multiply(r, hn)))
        return (lm.add(lm.multiply(lm.subtract(1, z), n), lm.multiply(z, state[0])),)


class _Layers(_Cell):
    """Layers over a sequence x [time, batch, input_size] (where `batch_first` [batch, time, input_size]).

    `net(x, initial=None, lengths=None)` gives (outputs [time, batch, directions * hidden_size] of the last layer, the
    last state [layers * directions, batch, hidden_size], for an LSTM a pair of them). With `lengths` (integers [batch])
    a sequence ends after so many steps: outputs behind it are 0, and the last state is that of its own last step, as
    with PyTorch's packed sequences. `dropout` is between layers.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *, key,
                 dtype="float32"):
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = Dropout(dropout)
        keys = iter(random.split(key, max(1, num_layers * self._directions)))
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self._directions
            for suffix in self._suffixes(layer):
                self._draw(next(keys), width, suffix, dtype)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][:self._directions]

    def __call__(self, x, initial=None, *, lengths=None):
        x = as_floating(x)
        if len(x.shape) != 3 or x.shape[2] != self.input_size:
            raise shape_error(f"{type(self).__name__} of shape {shape_text(x.shape)}: "
                              f"{'[batch, time' if self.batch_first else '[time, batch'}, {self.input_size}] was "
                              f"expected")
        x = lm.swapaxes(x, 0, 1) if self.batch_first else x
        if lengths is not None:
            lengths = lm.expand_dims(as_array(lengths), 1)
        shape = (self.num_layers * self._directions, x.shape[1], self.hidden_size)
        initial = self._as_state(initial, shape, dtype_of(x))
        last: list[State] = []
        for layer in range(self.num_layers):
            x = self.dropout(x) if layer else x
            outputs = []
            for reverse, suffix in enumerate(self._suffixes(layer)):
                begin = tuple(part[len(last)] for part in initial)
                end, found = self._along(x, begin, suffix, lengths, bool(reverse))
                last.append(end)
                outputs.append(found)
            x = outputs[0] if len(outputs) == 1 else lm.concat(outputs, axis=-1)
        state = tuple(lm.stack(parts) for parts in zip(*last))
        return lm.swapaxes(x, 0, 1) if self.batch_first else x, self._from_state(state)

    def _along(self, x: Array, initial: State, suffix: str, lengths, reverse: bool) -> tuple[State, Array]:
        """One direction of one layer: the last state, and the output of each step."""
        def step(state, at):
            new = self._step(state, at[0], self._of_state(state[0], suffix))
            if lengths is None:
                return new, new[0]
            runs = lm.less(at[1], lengths)
            return (tuple(lm.where(runs, a, b) for a, b in zip(new, state)), lm.where(runs, new[0], 0))
        steps = () if lengths is None else (lm.arange(x.shape[0]),)
        return lm.scan(step, initial, (self._of_input(x, suffix), *steps), reverse=reverse)


class _OneStep(_Cell):
    """One step: `cell(x, state=None)` gives the next state [batch, hidden_size], for an LSTM a pair of them."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, key, dtype="float32"):
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self._draw(key, input_size, "", dtype)

    def __call__(self, x, state=None):
        x = as_floating(x)
        state = self._as_state(state, (*x.shape[:-1], self.hidden_size), dtype_of(x))
        return self._from_state(self._step(state, self._of_input(x, ""), self._of_state(state[0], "")))


class RNN(_Layers, _Rnn):
    """h' = tanh(W x + b + U h + c), or relu where `nonlinearity` says so (Elman, 1990)."""

    __doc__ += "\n\n" + _Layers.__doc__

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *,
                 key, dtype="float32"):
        self.nonlinearity = _known(nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, key=key,
                         dtype=dtype)


class LSTM(_Layers, _Lstm):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), with the forget gate of Gers and others, 2000."""

    __doc__ += "\n\n" + _Layers.__doc__


class GRU(_Layers, _Gru):
    """Gated recurrent units (Cho and others, 2014), with the reset gate behind the product as in PyTorch."""

    __doc__ += "\n\n" + _Layers.__doc__


class RNNCell(_OneStep, _Rnn):
    """One step of an RNN."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", *, key,
                 dtype="float32"):
        self.nonlinearity = _known(nonlinearity)
        super().__init__(input_size, hidden_size, bias, key=key, dtype=dtype)


class LSTMCell(_OneStep, _Lstm):
    """One step of an LSTM."""


class GRUCell(_OneStep, _Gru):
    """One step of a GRU."""


def _known(nonlinearity: str) -> str:
    if nonlinearity not in NONLINEARITIES:
        raise trace_error(f"there is no nonlinearity {nonlinearity!r}", hint=", ".join(NONLINEARITIES))
    return nonlinearity
