"""Does output go where it belongs: plain without a terminal, notes and progress aside?"""

import io
import json
import sys
import time

import pytest

from lamina.frontends.cli import console as module
from lamina.frontends.cli.console import Console, format_bytes, format_seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def colors(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_table_without_a_terminal_is_plain_columns(capsys):
    Console().table(("name", "count", "time"), [("a", 1234, "1.5 ms"), ("longer", 5, "20 us")])
    assert capsys.readouterr().out == "name    count    time\na       1,234  1.5 ms\nlonger      5   20 us\n"


def test_a_table_on_a_terminal(monkeypatch, colors):
    monkeypatch.setattr(sys, "stdout", Terminal())
    Console().table(("name", "count"), [("a [b]", 1)])
    assert "a [b]" in sys.stdout.getvalue() and "─" in sys.stdout.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Console().is_terminal and Console().bold("x") == "x"


def test_quiet_and_verbose(capsys):
    for console, expected in ((Console(), "note\nerror\n"), (Console(is_quiet=True), "error\n"), (Console(verbosity=1), "note\ndetail\nerror\n")):
        console.note("note")
        console.detail("detail")
        console.error("error")
        assert capsys.readouterr() == ("", expected)


def test_json_has_a_schema_and_nothing_that_json_lacks(capsys):
    Console(as_json=True).result("x", {"a": 1})
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "command": "x", "a": 1}
    with pytest.raises(ValueError):
        Console(as_json=True).result("x", {"a": float("nan")})


def test_progress_is_for_terminals_and_for_work_that_takes_its_time(monkeypatch, colors, capsys):
    def work(seconds: float) -> str:
        with Console().progress("compiling") as tell:
            tell("codegen", 1, 3)
            time.sleep(seconds)
            tell("codegen", 3, 3)
        return sys.stderr.getvalue()
    monkeypatch.setattr(module, "PATIENCE", 0.02)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert "compiling: codegen 3/3" in work(0.5)
    monkeypatch.setattr(module, "PATIENCE", 10)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert work(0) == ""
    monkeypatch.setattr(module, "PATIENCE", 0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert work(0.05) == ""


def test_verbose_logs_the_time_of_each_stage(capsys):
    with Console(verbosity=1).progress("compiling x") as tell:
        tell("fuse")
        tell("place")
    err = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in err] == ["  fuse", "  place", "compiling x"] and all(line.endswith(" ms") for line in err)


@pytest.mark.parametrize("count, text", [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (107 << 20, "107.0 MiB"), (3 << 40, "3.0 TiB")])
def test_bytes(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize("seconds, text", [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.2e-5, "42 us"), (7e-9, "7 ns"), (123.4, "123 s")])
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text
