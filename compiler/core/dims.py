"""How long is an axis?  An int, or a polynomial over symbols that carry facts (bounds, a multiple).

A `DimExpr` is kept in one canonical form, a sum of integer multiples of products of atoms, so that equal extents
compare equal. Atoms are symbols and floor divisions that do not divide evenly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import gcd, inf
from numbers import Integral
from typing import Mapping, Union

from .errors import FormatError, ShapeError

UNBOUNDED = 1 << 31  # the upper fact of a symbol whose user gave none


@dataclass(frozen=True, order=True)
class Symbol:
    """A named extent with facts: `lower` <= value <= `upper`, and value % `multiple` == 0."""

    name: str
    lower: int = 1
    upper: int = UNBOUNDED
    multiple: int = 1

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", self.name):
            raise ShapeError(f"{self.name!r} can't name a dim", hint="use letters, digits and _")
        if not 0 <= self.lower <= self.upper or self.multiple < 1:
            raise ShapeError(f"the facts of dim {self.name!r} contradict each other: {self.facts()}")

    def facts(self) -> str:
        upper = "" if self.upper >= UNBOUNDED else str(self.upper)
        return f"{self.lower}..{upper}" + (f"%{self.multiple}" if self.multiple > 1 else "")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, order=True)
class FloorDiv:
    """The atom floor(numerator / denominator) with a constant positive denominator."""

    numerator: "DimExpr"
    denominator: int

    def __str__(self) -> str:
        return f"(({self.numerator}) // {self.denominator})"


Atom = Union[Symbol, FloorDiv]
Monomial = tuple[Atom, ...]


def _atom_key(atom: Atom):
    return (0, atom.name, ()) if isinstance(atom, Symbol) else (1, str(atom), ())


@dataclass(frozen=True, order=False)
class DimExpr:
    """A polynomial with integer coefficients: `terms` maps each monomial (sorted atoms) to its coefficient."""

    terms: tuple[tuple[Monomial, int], ...]

    def _dict(self) -> dict[Monomial, int]:
        return dict(self.terms)

    def __add__(self, other: "Dim") -> "Dim":
        if not isinstance(other, _DIMS):
            return NotImplemented
        out = self._dict()
        for monomial, c in _terms(other):
            out[monomial] = out.get(monomial, 0) + c
        return _make(out)

    __radd__ = __add__

    def __neg__(self) -> "Dim":
        return self * -1

    def __sub__(self, other: "Dim") -> "Dim":
        return self + (other * -1) if isinstance(other, _DIMS) else NotImplemented

    def __rsub__(self, other: "Dim") -> "Dim":
        return (self * -1) + other

    def __mul__(self, other: "Dim") -> "Dim":
        if not isinstance(other, _DIMS):
            return NotImplemented
        out: dict[Monomial, int] = {}
        for m1, c1 in self.terms:
            for m2, c2 in _terms(other):
                monomial = tuple(sorted(m1 + m2, key=_atom_key))
                out[monomial] = out.get(monomial, 0) + c1 * c2
        return _make(out)

    __rmul__ = __mul__

    def __floordiv__(self, other: "Dim") -> "Dim":
        if not isinstance(other, _DIMS):
            return NotImplemented
        quotient = divide_exactly(self, other)
        if quotient is not None:
            return quotient
        if not isinstance(other, int):
            raise ShapeError(f"({self}) // ({other}): lamina divides dims by constants, or evenly")
        if other < 0:
            raise ShapeError(f"({self}) // {other}: the divisor must be positive")
        whole = {m: c // other for m, c in self.terms if c % other == 0}
        rest = _make({m: c for m, c in self.terms if c % other})
        low, high = bounds(rest)
        if low // other == high // other if high != inf else False:
            return _make(whole) + int(low // other)
        return _make(whole) + DimExpr((((FloorDiv(rest, other),), 1),))

    def __mod__(self, other: "Dim") -> "Dim":
        return self - (self // other) * other if isinstance(other, _DIMS) else NotImplemented

    def __str__(self) -> str:
        parts = []
        for monomial, c in self.terms:
            factors = [str(a) for a in monomial]
            if c != 1 or not factors:
                factors.insert(0, str(c))
            parts.append("*".join(factors))
        return " + ".join(parts).replace("+ -", "- ")

    def __bool__(self) -> bool:
        raise ShapeError(f"the truth of the symbolic dim {self} is not known while compiling")

    def __lt__(self, other: "Dim") -> bool:
        return _is_below(self, other, f"{self} < {other}") if isinstance(other, _DIMS) else NotImplemented

    def __gt__(self, other: "Dim") -> bool:
        return _is_below(other, self, f"{self} > {other}") if isinstance(other, _DIMS) else NotImplemented

    def __le__(self, other: "Dim") -> bool:
        return not _is_below(other, self, f"{self} <= {other}") if isinstance(other, _DIMS) else NotImplemented

    def __ge__(self, other: "Dim") -> bool:
        return not _is_below(self, other, f"{self} >= {other}") if isinstance(other, _DIMS) else NotImplemented


Dim = Union[int, DimExpr]
_DIMS = (Integral, DimExpr)  # what dims are computed with; arrays compute with dims themselves


def _is_below(a: Dim, b: Dim, question: str) -> bool:
    low, high = bounds(a - b)
    if low < 0 <= high:
        raise ShapeError(f"whether {question} is not known while compiling", hint="declare facts of the dims that "
                                                                                  "decide it")
    return high < 0


def symbol(name: str, lower: int = 1, upper: int = UNBOUNDED, multiple: int = 1) -> DimExpr:
    """The dim that is the symbol `name` with these facts."""
    return DimExpr((((Symbol(name, lower, upper, multiple),), 1),))


def _terms(d: Dim):
    return d.terms if isinstance(d, DimExpr) else ((((), int(d)),) if d else ())


def _make(terms: Mapping[Monomial, int]) -> Dim:
    if any(isinstance(atom, FloorDiv) for m in terms for atom in m):
        terms = _with_parts_joined(terms)
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if list(kept) == [()]:
        return kept[()]
    order = sorted(kept.items(), key=lambda item: (not item[0], [_atom_key(a) for a in item[0]]))
    return DimExpr(tuple(order))


def _with_parts_joined(terms: Mapping[Monomial, int]) -> dict[Monomial, int]:
    """Terms in which parts n // d of symbols n that d divides are added up: n//2 + n//4 is 3*(n//4), 2*(n//2) is n."""
    from fractions import Fraction
    wholes: dict = {}
    for monomial, c in terms.items():
        atoms, share = [], Fraction(c)
        for atom in monomial:
            whole = _symbol_of(atom.numerator) if isinstance(atom, FloorDiv) else None
            if whole is not None and whole.multiple % atom.denominator == 0:
                atom, share = whole, share / atom.denominator
            atoms.append(atom)
        key = tuple(sorted(atoms, key=_atom_key))
        wholes[key] = wholes.get(key, Fraction(0)) + share
    return {_divided(monomial, share.denominator): share.numerator for monomial, share in wholes.items()}


def _divided(monomial: Monomial, divisor: int) -> Monomial | None:
    """monomial / divisor by the multiples of its symbols; None where they leave a remainder."""
    atoms = []
    for atom in monomial:
        common = gcd(divisor, atom.multiple) if isinstance(atom, Symbol) else 1
        if common > 1:
            atom, divisor = FloorDiv(DimExpr((((atom,), 1),)), common), divisor // common
        atoms.append(atom)
    return tuple(sorted(atoms, key=_atom_key)) if divisor == 1 else None


def _symbol_of(d: Dim) -> Symbol | None:
    """The symbol that `d` is, if it is one alone."""
    if isinstance(d, DimExpr) and len(d.terms) == 1 and d.terms[0][1] == 1 and len(d.terms[0][0]) == 1:
        atom = d.terms[0][0][0]
        return atom if isinstance(atom, Symbol) else None
    return None


def divide_exactly(a: Dim, b: Dim) -> Dim | None:
    """a / b where the division is known to leave no remainder, else None. Symbol multiples are used."""
    if isinstance(b, int) and b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a // b if a % b == 0 else None
    if isinstance(b, int):
        total: Dim = 0
        for monomial, c in _terms(a):
            common = gcd(c, b)
            part = _divided(monomial, b // common)
            if part is None:
                return None
            total = total + _make({part: c // common})
        return total
    if a == b:
        return 1
    if a == 0:
        return 0
    parts = [atom.denominator for monomial, _ in b.terms for atom in monomial if isinstance(atom, FloorDiv)]
    if parts and (whole := b * parts[0]) != b and _floor_divisions(whole) < len(parts):
        return divide_exactly(a * parts[0], whole)  # n / (n // 8) where 8 divides n
    (lead, lead_c), *_ = b.terms
    first = _terms(a)[0]
    quotient_monomial = _remove(first[0], lead)
    if quotient_monomial is None or first[1] % lead_c:
        return None
    part = _make({quotient_monomial: first[1] // lead_c})
    rest = a - part * b
    if rest == 0:
        return part
    if len(_terms(rest)) >= len(_terms(a)) + len(b.terms):
        return None
    more = divide_exactly(rest, b)
    return None if more is None else part + more


def _floor_divisions(d: Dim) -> int:
    return sum(isinstance(atom, FloorDiv) for monomial, _ in _terms(d) for atom in monomial)


def _remove(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in divisor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def product(dims) -> Dim:
    result: Dim = 1
    for d in dims:
        result = result * d
    return result


def ceil_div(a: Dim, b: int) -> Dim:
    return (a + (b - 1)) // b


def symbols_of(*dims: Dim) -> list[Symbol]:
    """The symbols that occur in `dims`, in order of first occurrence."""
    found: dict[Symbol, None] = {}

    def visit(d: Dim):
        for monomial, _ in _terms(d):
            for atom in monomial:
                if isinstance(atom, Symbol):
                    found.setdefault(atom)
                else:
                    visit(atom.numerator)
    for d in dims:
        visit(d)
    return list(found)


def bounds(d: Dim) -> tuple[int, float]:
    """The smallest and largest value that the facts allow (interval arithmetic; the upper bound may be math.inf)."""
    if isinstance(d, int):
        return d, d
    low = high = 0
    for monomial, c in d.terms:
        lo, hi = 1, 1
        for atom in monomial:
            alo, ahi = _atom_bounds(atom)
            corners = [_times(x, y) for x in (lo, hi) for y in (alo, ahi)]
            lo, hi = min(corners), max(corners)
        low, high = low + min(_times(c, lo), _times(c, hi)), high + max(_times(c, lo), _times(c, hi))
    return low, high


def _times(x, y):
    return 0 if x == 0 or y == 0 else x * y


def _atom_bounds(atom: Atom):
    if isinstance(atom, Symbol):
        return atom.lower, (inf if atom.upper >= UNBOUNDED else atom.upper)
    lo, hi = bounds(atom.numerator)
    return (lo if lo in (inf, -inf) else lo // atom.denominator), (hi if hi in (inf, -inf) else hi // atom.denominator)


def is_positive(d: Dim) -> bool:
    """Whether the facts prove d >= 1."""
    return bounds(d)[0] >= 1


def evaluate(d: Dim, values: Mapping[str, int]) -> int:
    """The value of `d` where each symbol has the extent that `values` gives by name."""
    if isinstance(d, int):
        return d
    total = 0
    for monomial, c in d.terms:
        for atom in monomial:
            c *= values[atom.name] if isinstance(atom, Symbol) else evaluate(atom.numerator, values) // atom.denominator
        total += c
    return total


def substitute(d: Dim, mapping: Mapping[str, Dim]) -> Dim:
    """`d` with symbols replaced by name."""
    if isinstance(d, int):
        return d
    total: Dim = 0
    for monomial, c in d.terms:
        term: Dim = c
        for atom in monomial:
            if isinstance(atom, Symbol):
                term = term * mapping.get(atom.name, DimExpr((((atom,), 1),)))
            else:
                term = term * (substitute(atom.numerator, mapping) // atom.denominator)
        total = total + term
    return total


def nominal(d: Dim) -> int:
    """A typical extent for heuristics: the upper fact where there is one, else the lower fact or 16."""
    return evaluate(d, {s.name: s.upper if s.upper < UNBOUNDED else max(s.lower, 16 * s.multiple) for s in symbols_of(d)})


def format_dim(d: Dim) -> str:
    return str(d)


_TOKEN = re.compile(r"\s*(//|[()*+-]|\d+|[A-Za-z_][A-Za-z0-9_.]*)")


def parse_dim(text: str, symbols: Mapping[str, Symbol]) -> Dim:
    """The dim that `text` spells (`format_dim`'s inverse); names are looked up in `symbols`, unknown ones are new
    symbols."""
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise FormatError(f"can't read the dim {text!r}")
        tokens.append(match.group(1))
        at = match.end()

    def peek():
        return tokens[0] if tokens else None

    def total():
        value = term()
        while peek() in ("+", "-"):
            value = value + term() if tokens.pop(0) == "+" else value - term()
        return value

    def term():
        value = factor()
        while peek() in ("*", "//"):
            value = value * factor() if tokens.pop(0) == "*" else value // factor()
        return value

    def factor():
        if not tokens:
            raise FormatError(f"the dim {text!r} ends too early")
        token = tokens.pop(0)
        if token == "-":
            return -1 * factor()
        if token == "(":
            value = total()
            if not tokens or tokens.pop(0) != ")":
                raise FormatError(f"a ) is missing in the dim {text!r}")
            return value
        if token.isdigit():
            return int(token)
        if not re.match(r"[A-Za-z_]", token):
            raise FormatError(f"can't read the dim {text!r}")
        atom = symbols.get(token) or Symbol(token)
        return DimExpr((((atom,), 1),))

    value = total()
    if tokens:
        raise FormatError(f"can't read {tokens[0]!r} in the dim {text!r}")
    return value


def parse_symbol(text: str) -> Symbol:
    """A symbol with facts from `name`, `name=4`, `name=1..64`, `name=1..`, `name=8..512%8`."""
    match = re.fullmatch(r"([A-Za-z_][\w.]*)(?:=(\d+)(\.\.)?(\d+)?(?:%(\d+))?)?", text.strip())
    if not match:
        raise FormatError(f"can't read the dim fact {text!r}", hint="write name=1..64 or name=8..512%8")
    name, low, dots, high, multiple = match.groups()
    if low is None:
        return Symbol(name)
    upper = int(high) if high else (UNBOUNDED if dots else int(low))
    return Symbol(name, int(low), upper, int(multiple or 1))


def common_factor(d: Dim) -> int:
    """The largest constant that is known to divide `d`; 0 for the dim 0."""
    if isinstance(d, int):
        return abs(d)
    result = 0
    for monomial, c in d.terms:
        for atom in monomial:
            c *= atom.multiple if isinstance(atom, Symbol) else 1
        result = gcd(result, c)
    return result
