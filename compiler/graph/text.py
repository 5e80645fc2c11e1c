"""How is a graph written down?  print_graph and parse_graph, exact inverses.

    graph main(%image: f32[batch, 64]) -> (logits) symbols(batch=1..64) {
      %0 = constant {array=f32[64, 10]@2b5fb8c1…} : f32[64, 10]
      %1 = contract(%image, %0) {spec="mk,kn->mn"} : f32[batch, 10]  # model.py:12 in forward
      return %1
    }

Parameters go by their names, all other values by numbers. An attribute that has its default is left out. Graphs that an
op holds stand among its attributes, as blocks. `#` starts a comment; one of the form `file:line in function node
"name"` behind a node is its location.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Mapping

import numpy as np

from ..core.dims import DimExpr, Symbol, parse_symbol, symbols_of
from ..core.dtypes import as_dtype
from ..core.errors import FormatError, LaminaError
from ..core.location import UNKNOWN
from ..core.types import TensorType
from .graph import Graph, Node, Value
from .literals import LARGE, LiteralParser, format_elements, format_value
from .tokens import Tokens, format_location, format_name


# ---- printing --------------------------------------------------------------------------------------------------------
def print_graph(graph: Graph, locations: bool = True, contents: bool = True) -> str:
    """The text of `graph`; `parse_graph` reads it back, given `graph_constants(graph)` where it has large constants.

    `locations=False` leaves the nodes' locations out. `contents=False` writes arrays by dtype and shape alone: that is
    for keys, and can't be read back.
    """
    return "\n".join(_Printer(locations, contents).graph(graph, "", _all_symbols(graph))) + "\n"


def graph_constants(graph: Graph) -> dict[str, np.ndarray]:
    """The arrays that the text of `graph` names by digest: those of more than 64 elements, sub-graphs' included."""
    found: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        for value in _flat(node.op.attributes().values()):
            if isinstance(value, np.ndarray) and value.size > LARGE:
                found.setdefault(_digest(node.op, value), value)
            elif isinstance(value, Graph):
                found.update(graph_constants(value))
    return found


def _flat(values):
    """`values` with those of nested tuples in their place."""
    for value in values:
        if isinstance(value, tuple):
            yield from _flat(value)
        else:
            yield value


def _digest(op, array: np.ndarray) -> str:
    from ..ops.constant import Constant
    return op.digest if isinstance(op, Constant) else Constant(array).digest


def _all_symbols(graph: Graph) -> list[Symbol]:
    """The symbols of `graph`'s types and attributes, in order of first occurrence."""
    found: dict[Symbol, None] = {}
    seen: set[int] = set()  # most types are shared objects

    def visit(values):
        for value in _flat(values):
            if isinstance(value, DimExpr):
                found.update(dict.fromkeys(symbols_of(value)))
            elif isinstance(value, TensorType) and id(value) not in seen:
                seen.add(id(value))
                visit(value.shape)
            elif isinstance(value, Graph):
                visit(p.type for p in value.params)
                for node in value.nodes:
                    visit(node.op.attributes().values())
                    visit(node.result_types)
    visit((graph,))
    return list(found)


class _Printer:
    def __init__(self, locations: bool, contents: bool):
        self._locations = locations
        self._contents = contents
        self._fields: dict[type, list[tuple[str, str | None]]] = {}

    def graph(self, graph: Graph, indent: str, symbols: list[Symbol] | tuple[()] = ()) -> list[str]:
        """The lines of a graph; the first is not indented, so that it can stand among attributes."""
        names: dict[Value, str] = {}
        count, params, taken = 0, [], set()
        for param in graph.params:
            name, label = "%" + format_name(param.name), ""
            if not param.name or name in taken:  # a name that occurs twice stands behind a number
                name, label, count = f"%{count}", f" {format_name(param.name)}" if param.name else "", count + 1
            taken.add(name)
            names[param] = name
            params.append(f"{name}{label}: {param.type}")
        tail = f" -> ({', '.join(map(format_name, graph.result_names))})" if graph.result_names else ""
        if symbols:
            tail += f" symbols({', '.join(map(_format_symbol, symbols))})"
        head = f"graph {format_name(graph.name)}({', '.join(params)}){tail} {{"
        if len(indent) + len(head) > 120 and params:
            inner = f"\n{indent}    "
            head = f"graph {format_name(graph.name)}({inner}{f',{inner}'.join(params)}){tail} {{"
        lines = [head]
        for node in graph.nodes:
            operands = ", ".join([names[o] for o in node.operands])
            for result in node.results:
                names[result] = f"%{count}"
                count += 1
            lines.append(self.node(node, operands, ", ".join([names[r] for r in node.results]), indent + "  "))
        lines.append(f"{indent}  return {', '.join([names[r] for r in graph.results])}".rstrip())
        lines.append(indent + "}")
        return lines

    def node(self, node: Node, operands: str, results: str, indent: str) -> str:
        op = node.op
        attributes = []
        for name, default in self.fields(type(op)):
            text = format_value(getattr(op, name), lambda value: self.other(op, value, indent))
            if text != default:
                attributes.append(f"{name}={text}")
        text = f"{indent}{results} = {op.name}" if results else f"{indent}{op.name}"
        if operands:
            text += f"({operands})"
        if attributes:
            text += f" {{{', '.join(attributes)}}}"
        if results:
            text += f" : {', '.join(map(str, node.result_types))}"
        return text + format_location(node.location) if self._locations and node.location is not UNKNOWN else text

    def other(self, op, value, indent: str) -> str:
        """The text of an array or a graph among the attributes of `op`."""
        if isinstance(value, Graph):
            return "\n".join(self.graph(value, indent))
        if not isinstance(value, np.ndarray):
            raise FormatError(f"graph text has no form for an attribute of type {type(value).__name__} "
                              f"({op.name}: {value!r})")
        if self._contents and value.size <= LARGE:
            return format_elements(value)
        head = str(TensorType(tuple(value.shape), as_dtype(value.dtype)))
        return f"{head}@{_digest(op, value)}" if self._contents else head

    def fields(self, op_class: type) -> list[tuple[str, str | None]]:
        """The attributes of an op class, each with the text of its default."""
        if op_class not in self._fields:
            def other(value):
                return self.other(op_class, value, "")
            self._fields[op_class] = [(f.name, None if f.default is MISSING else format_value(f.default, other))
                                      for f in fields(op_class) if f.init]
        return self._fields[op_class]


def _format_symbol(s: Symbol) -> str:
    return s.name if s == Symbol(s.name) else f"{s.name}={s.facts()}"


# ---- parsing ---------------------------------------------------------------------------------------------------------
def parse_graph(text: str, constants: Mapping[str, np.ndarray] | None = None) -> Graph:
    """The graph that `text` spells. `constants` holds the arrays that it names by digest.

    Result types may be left out: the ops infer them. FormatError, with line and column, where the text can't be read,
    an op refuses its attributes or operands, or a written type is not the one that the op infers; and where constants
    are missing.
    """
    tokens = Tokens(text)
    digests = dict.fromkeys(t[1:] for kind, t, _, _ in tokens.tokens if kind == "hash")
    missing = [d for d in digests if d not in (constants or {})]
    if missing:
        raise FormatError(f"graph text names {len(missing)} constants that were not given: {', '.join(missing)}",
                          hint="pass the arrays that graph_constants() gave when the text was made")
    parser = _Parser(tokens, constants or {})
    graph = parser.graph()
    if tokens.kind() != "end":
        tokens.fail(f"the end of the text was expected, not {tokens.shown()}")
    return graph


class _Parser(LiteralParser):
    def graph(self) -> Graph:
        tokens = self.tokens
        tokens.expect("graph")
        name = tokens.name("the graph's name")
        start = tokens.at
        tokens.skip("(", ")")
        result_names = tuple(self.sequence(lambda: tokens.name("a result's name"))) if tokens.accept("->") else ()
        if tokens.accept("symbols"):
            self.declare_symbols()
        body, tokens.at = tokens.at, start
        env: dict[str, Value] = {}
        params: list[Value] = []
        self.sequence(lambda: self.parameter(params, env))
        tokens.at = body
        tokens.expect("{")
        nodes: list[Node] = []
        while not tokens.accept("return"):
            nodes.append(self.node(env))
        first, results = tokens.at, []
        while tokens.kind() == "value" or results:
            results.append(self.operand(env))
            if not tokens.accept(","):
                break
        tokens.expect("}")
        if result_names and len(result_names) != len(results):
            tokens.fail(f"{len(results)} results are returned, the graph names {len(result_names)}", first)
        return Graph(tuple(params), tuple(nodes), tuple(results), name, result_names)

    def declare_symbols(self) -> None:
        first = self.tokens.at
        for text in self.tokens.skip("(", ")")[0].split(","):
            try:
                found = parse_symbol(text)
            except LaminaError as error:
                self.tokens.fail(error.message, first)
            if found.name in self.symbols:
                self.tokens.fail(f"the dim {found.name!r} is declared twice", first)
            self.symbols[found.name] = found

    def label(self) -> str:
        """The name of a value, as the printer writes it."""
        tokens = self.tokens
        if tokens.kind() != "value":
            tokens.fail(f"a value such as %0 was expected, not {tokens.shown()}")
        text = tokens.take()
        return "%" + format_name(tokens.unquoted(text[1:])) if text[1] == '"' else text

    def define(self, env: dict[str, Value], label: str, value: Value, token: int) -> None:
        if label in env:
            self.tokens.fail(f"{label} is defined twice", token)
        env[label] = value

    def parameter(self, params: list[Value], env: dict[str, Value]) -> None:
        first, label = self.tokens.at, self.label()
        if self.tokens.kind() in ("name", "string"):
            name = self.tokens.name("the parameter's name")
        else:
            name = "" if label[1:].isdigit() else self.tokens.unquoted(label[1:])
        self.tokens.expect(":")
        value = Value(self.type(), None, len(params), name)
        params.append(value)
        self.define(env, label, value, first)

    def operand(self, env: dict[str, Value]) -> Value:
        first, label = self.tokens.at, self.label()
        return env[label] if label in env else self.tokens.fail(f"{label} is not defined before", first)

    def node(self, env: dict[str, Value]) -> Node:
        tokens = self.tokens
        first, labels = tokens.at, []
        while tokens.kind() == "value":
            labels.append((self.label(), tokens.at - 1))
            if tokens.expect(",", "=") == "=":
                break
        name_token = tokens.at
        if tokens.kind() != "name":
            tokens.fail(f"an operator, 'return' or a value was expected, not {tokens.shown()}")
        op_class = _find_op(tokens.take(), tokens)
        operands = tuple(self.sequence(lambda: self.operand(env))) if tokens.peek() == "(" else ()
        attributes = self.attributes(op_class) if tokens.peek() == "{" else {}
        op, types = self.apply(op_class, attributes, operands, name_token)
        if tokens.accept(":"):
            self.check_types(op, types)
        location = tokens.location() or UNKNOWN
        if len(labels) != len(types):
            tokens.fail(f"{op.name} has {len(types)} results, {len(labels)} are named", first)
        node = Node(op, operands, types, location)
        for (label, token), result in zip(labels, node.results):
            self.define(env, label, result, token)
        return node

    def attributes(self, op_class: type) -> dict[str, object]:
        tokens = self.tokens
        known = [f.name for f in fields(op_class) if f.init]
        found: dict[str, object] = {}

        def attribute():
            name = tokens.name("an attribute")
            if name not in known or name in found:
                listed = ", ".join(known) or "it has none"
                problem = "is given twice" if name in found else f"is none of its attributes ({listed})"
                tokens.fail(f"{op_class.name}: {name!r} {problem}", tokens.at - 1)
            tokens.expect("=")
            found[name] = self.item()
        self.sequence(attribute, "{", "}")
        return found

    def item(self):
        return self.graph() if self.tokens.peek() == "graph" and self.tokens.kind() == "name" else self.value()

    def apply(self, op_class: type, attributes: dict[str, object], operands: tuple[Value, ...], token: int):
        """The op and its result types; what it refuses is an error of the text."""
        absent = [f.name for f in fields(op_class) if f.init and f.default is MISSING and f.default_factory is MISSING
                  and f.name not in attributes]
        if absent:
            self.tokens.fail(f"{op_class.name} needs the attribute {', '.join(map(repr, absent))}", token)
        try:
            op = op_class(**attributes)
            return op, tuple(op.infer(*(o.type for o in operands)))
        except LaminaError as error:
            self.tokens.fail(error.message, token)
        except (TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            self.tokens.fail(f"{op_class.name} does not take these attributes and operands: {error}", token)

    def check_types(self, op, types: tuple[TensorType, ...]) -> None:
        tokens = self.tokens
        for position, expected in enumerate(types):
            if position:
                tokens.expect(",")
            first = tokens.at
            written = self.type()
            if written != expected:
                tokens.fail(f"{op.name} makes {expected} here, not {written}", first)


def _find_op(name: str, tokens: Tokens) -> type:
    from ..ops import REGISTRY
    if name not in REGISTRY:
        close = ", ".join(get_close_matches(name, REGISTRY, n=3))
        tokens.fail(f"no operator is called {name!r}" + (f"; did you mean {close}?" if close else ""), tokens.at - 1)
    return REGISTRY[name]
