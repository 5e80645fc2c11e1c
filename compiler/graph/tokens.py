"""How is the text of graphs and programs cut into tokens, and where in it is a mistake?"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from ..core.errors import FormatError
from ..core.location import Location

_TOKEN = re.compile(r"""(?P<space>\s+)|(?P<comment>\#[^\n]*)
    |(?P<value>%(?:\d+|[A-Za-z_][\w.]*|"(?:[^"\\\n]|\\.)*"))|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<hash>@[0-9a-f]+)
    |(?P<number>0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?P<name>[A-Za-z_][\w.]*)
    |(?P<sign>->|//|\.\.|[-+*%(){}\[\],:=])""", re.VERBOSE | re.ASCII)
_STRING = r'"(?:[^"\\\n]|\\.)*"'
_FILE, _FUNCTION = r'[^\s":]+', r'[^\s"]+'
_LOCATION = re.compile(rf"# *(?:backward of (?P<backward>\w+) at )?(?:(?P<file>{_FILE}|{_STRING}):(?P<line>\d+)(?: in (?P<function>{_FUNCTION}|{_STRING}))?)?"
                       rf" *(?:node (?P<name>{_STRING}))?\s*")


class Tokens:
    """The tokens of `text` and a place among them. Each is (kind, text, start, end); the last has kind "end"."""

    def __init__(self, text: str, what: str = "graph text"):
        self.text = text
        self.what = what
        self.at = 0
        self.tokens: list[tuple[str, str, int, int]] = []
        self._locations: dict[int, Location] = {}  # by the number of the token that the comment follows
        position = 0
        for match in _TOKEN.finditer(text):
            start, end = match.span()
            if start != position:
                break
            position = end
            kind = match.lastgroup
            if kind == "comment":
                self._comment(match.group(), start)
            elif kind != "space":
                self.tokens.append((kind, match.group(), start, end))
        if position != len(text):
            self.fail_at(position, f"can't read {text[position:position + 10]!r}")
        self.tokens.append(("end", "", position, position))

    def _comment(self, text: str, start: int) -> None:
        """Remember a comment that is a location; others are dropped."""
        match = _LOCATION.fullmatch(text)
        has_node = self.tokens and "\n" not in self.text[self.tokens[-1][3]:start]
        if match and has_node and (match["file"] or match["name"]):
            try:
                file, function, name = (_unquote(match[part] or "") for part in ("file", "function", "name"))
            except ValueError:  # only looks like a location
                return
            self._locations[len(self.tokens) - 1] = Location(file, int(match["line"] or 0), function, name,
                                                             match["backward"] or "")

    def location(self) -> Location | None:
        """The location that is written after the token before this place."""
        return self._locations.get(self.at - 1)

    def fail(self, problem: str, token: int | None = None) -> NoReturn:
        """A FormatError at this place, or at the token of that number."""
        self.fail_at(self.tokens[min(self.at if token is None else token, len(self.tokens) - 1)][2], problem)

    def fail_at(self, offset: int, problem: str) -> NoReturn:
        line = self.text.count("\n", 0, offset) + 1
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        shown = self.text[start:end if end >= 0 else len(self.text)]
        column = offset - start + 1
        if len(shown) > 160:
            cut = max(0, column - 80)
            shown, marker = shown[cut:cut + 160], " " * (column - 1 - cut) + "^"
        else:
            marker = " " * (column - 1) + "^"
        raise FormatError(f"{self.what}, line {line}, column {column}: {problem}\n    {shown}\n    {marker}")

    def peek(self) -> str:
        return self.tokens[self.at][1]

    def kind(self) -> str:
        return self.tokens[self.at][0]

    def take(self) -> str:
        text = self.tokens[self.at][1]
        self.at += 1
        return text

    def accept(self, *texts: str) -> str | None:
        """The token at this place, passed, where it is one of `texts`."""
        kind, text, _, _ = self.tokens[self.at]
        if text in texts and kind in ("sign", "name"):
            self.at += 1
            return text
        return None

    def expect(self, *texts: str) -> str:
        return self.accept(*texts) or self.fail(f"{' or '.join(map(repr, texts))} was expected, not {self.shown()}")

    def shown(self) -> str:
        """The token at this place as messages show it."""
        return repr(self.peek()) if self.kind() != "end" else "the end of the text"

    def name(self, what: str) -> str:
        """An identifier or a string."""
        kind = self.kind()
        if kind not in ("name", "string"):
            self.fail(f"{what} was expected, not {self.shown()}")
        return self.unquoted(self.take())

    def string(self) -> str:
        if self.kind() != "string":
            self.fail(f"a string was expected, not {self.shown()}")
        return self.unquoted(self.take())

    def unquoted(self, text: str) -> str:
        """The string that `text`, the token before this place, spells."""
        try:
            return _unquote(text)
        except ValueError:
            self.fail(f"can't read the string {text}", self.at - 1)

    def skip(self, opening: str, closing: str) -> tuple[str, int]:
        """The text between a pair of brackets, which it passes, and its offset."""
        first = self.at
        self.expect(opening)
        depth = 1
        while depth:
            if self.kind() == "end":
                self.fail(f"the {opening!r} is never closed", first)
            token = self.take()
            depth += (token == opening) - (token == closing)
        start = self.tokens[first][3]
        return self.text[start:self.tokens[self.at - 1][2]], start


def format_location(location: Location) -> str:
    """The comment that stands for `location` after a node; empty where nothing is known."""
    parts = []
    if location.file or location.line or location.function:
        parts.append(f"{_bare_or_quoted(location.file, _FILE)}:{location.line}")
        if location.function:
            parts.append(f"in {_bare_or_quoted(location.function, _FUNCTION)}")
    if location.name:
        parts.append(f"node {json.dumps(location.name)}")
    if parts and location.backward_of:
        parts.insert(0, f"backward of {location.backward_of} at")
    return "  # " + " ".join(parts) if parts else ""


def format_name(name: str) -> str:
    """A name as it stands in text: bare where it is an identifier, else in quotes."""
    return _bare_or_quoted(name, r"[A-Za-z_][\w.]*")


def _bare_or_quoted(text: str, bare: str) -> str:
    return text if text.isascii() and re.fullmatch(bare, text) else json.dumps(text)


def _unquote(text: str) -> str:
    return json.loads(text) if text.startswith('"') else text
