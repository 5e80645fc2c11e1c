"""Do the README and the other documents say what happens?  Their commands and Python run, and print what stands there.

In every .md file, blocks of `sh` and `python` run in order, Python in one process, in a new folder where the checkout's
`examples` and `frontends` lie. A block that begins with `# name.py` is that file, too. A `text` block right behind one
is what it prints (of commands: on standard output); numbers and hashes may differ. `<!-- not run: why -->` in front of
a block leaves it out. `--bless` rewrites the texts.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTED_ELSEWHERE = ("examples/build_and_link/README.md",)
BLOCK = re.compile(r"(?P<skip><!-- not run:[^>]*-->\s*\n)?^```(?P<language>sh|python)\n(?P<code>.*?)^```\n"
                   r"(?:\s*^```text\n(?P<text>.*?)^```\n)?", re.DOTALL | re.MULTILINE)

#: Runs the blocks that come as JSON on standard input, in one process; gives a list of what each printed, or its error.
RUNNER = '''
import contextlib, io, json, re, subprocess, sys, traceback
names = {"__name__": "__main__"}
results = []
for language, code in json.load(sys.stdin):
    if language == "sh":
        ended = subprocess.run(["sh", "-e", "-c", code], capture_output=True, text=True)
        results.append((ended.returncode == 0, ended.stdout if ended.returncode == 0 else ended.stdout + ended.stderr))
        continue
    out = io.StringIO()
    name = re.match(r"# (\\w+\\.py)\\n", code)
    if name:
        open(name[1], "w").write(code)
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(code, name[1] if name else "snippet.py", "exec"), names)
        results.append((True, out.getvalue()))
    except BaseException:
        results.append((False, out.getvalue() + traceback.format_exc()))
json.dump(results, sys.stdout)
'''


@dataclass(frozen=True)
class Block:
    """A block of a document that runs: its line, its code, what it prints (None: nothing is said), where that stands."""

    line: int
    language: str
    code: str
    text: str | None
    span: tuple[int, int]


def blocks_of(document: str) -> list[Block]:
    """The blocks of a document that run."""
    return [Block(document.count("\n", 0, m.start("code")), m["language"], m["code"], m["text"], m.span("text"))
            for m in BLOCK.finditer(document) if not m["skip"]]


def documents() -> list[str]:
    """The documents of the checkout in which something runs."""
    found = sorted(p.relative_to(ROOT) for folder in ("", "docs", "examples", "benchmarks")
                   for p in (ROOT / folder).glob("**/*.md" if folder else "*.md"))
    return [str(p) for p in found if str(p) not in TESTED_ELSEWHERE and blocks_of((ROOT / p).read_text("utf-8"))]


def outputs_of(blocks: list[Block], folder: Path) -> list[str]:
    """What the blocks print, run in `folder`; a failure names the first that does not run."""
    for name in ("examples", "frontends"):
        (folder / name).symlink_to(ROOT / name)
    environment = os.environ | {"LAMINA_CACHE": "on", "LAMINA_CACHE_DIR": str(folder / ".cache"), "COLUMNS": "120",
                                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run([sys.executable, "-c", RUNNER], cwd=folder, env=environment, capture_output=True, text=True,
                           timeout=300, input=json.dumps([(b.language, b.code) for b in blocks]))
    assert ended.returncode == 0, ended.stderr
    results = json.loads(ended.stdout)
    for block, (ran, output) in zip(blocks, results):
        assert ran, f"line {block.line}:\n{block.code}\n{output}"
    return [output.replace(f"{folder}/", "") for _, output in results]


def comparable(text: str) -> list[str]:
    """The lines of a text without what differs between machines and runs: numbers, hashes, units, spaces."""
    text = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", "#", text)
    text = re.sub(r"-?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?", "#", text)
    text = re.sub(r"# ?(?:ns|us|ms|s|bytes|KiB|MiB)\b", "# units", text)
    return [" ".join(line.split()) for line in text.strip().splitlines()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the documents show what happens on Linux")
@pytest.mark.parametrize("name", documents())
def test_what_a_document_shows_happens(name, tmp_path, request):
    path = ROOT / name
    document = path.read_text(encoding="utf-8")
    blocks = blocks_of(document)
    if any("lamina build" in block.code for block in blocks) and not any(map(shutil.which, ("cc", "gcc", "ld"))):
        pytest.skip("needs a linker")
    if any(re.search(r"^cc ", block.code, re.MULTILINE) for block in blocks) and not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    outputs = outputs_of(blocks, tmp_path)
    if request.config.getoption("--bless"):
        for block, output in reversed(list(zip(blocks, outputs))):
            if block.text is not None and comparable(block.text) != comparable(output):
                document = document[:block.span[0]] + output.rstrip("\n") + "\n" + document[block.span[1]:]
        path.write_text(document, encoding="utf-8")
        return
    for block, output in zip(blocks, outputs):
        if block.text is not None:
            assert comparable(output) == comparable(block.text), \
                f"line {block.line} of {name} prints now (--bless takes it over):\n{output}"


def test_the_documents_are_found():
    assert {"README.md", "docs/ir.md"} <= set(documents())


def test_the_figures_of_onnx_are_those_of_the_table():
    onnx = pytest.importorskip("onnx")
    from lamina.frontends.cli.commands.ops import coverage
    readme = (ROOT / "README.md").read_text("utf-8")
    done, of, version = re.search(r"(\d+) of the (\d+) operators of ONNX (\d+\.\d+)", readme).groups()
    if not onnx.__version__.startswith(version + "."):
        pytest.skip(f"the README counts those of ONNX {version}")
    rows = [row for row in coverage() if row["is_onnx"]]
    assert (int(done), int(of)) == (sum(row["since"] is not None for row in rows), len(rows))


def test_every_field_of_the_manifest_is_described():
    import lamina as lm
    page = (ROOT / "docs" / "artifact.md").read_text("utf-8")
    manifest = lm.compile(lambda x: lm.softmax(x) @ x, lm.TensorSpec(("n", "n"))).artifact.manifest
    fields = {*manifest, *manifest["inputs"][0], *manifest["target"], *manifest["constants"][:1], *manifest["memory"],
              *manifest["memory"]["slots"][0], *manifest["launches"][0], *manifest["frame"]}
    assert {field for field in fields if f"`{field}`" not in page} == set()


def test_every_environment_variable_is_described():
    page = (ROOT / "docs" / "debugging.md").read_text("utf-8")
    code = "".join(p.read_text("utf-8") for room in ("compiler", "runtime", "frontends") for p in (ROOT / room).rglob("*.py"))
    assert {name for name in re.findall(r"\bLAMINA_[A-Z_]*[A-Z]\b", code) if f"`{name}`" not in page} == set()


def test_blocks_are_found_and_skipped():
    document = ("a\n```sh\nls\n```\n\n```text\nx\n```\n<!-- not run: long -->\n```python\n1/0\n```\n"
                "```python\npass\n```\n```c\nint x;\n```\n")
    found = [(b.line, b.language, b.code, b.text) for b in blocks_of(document)]
    assert found == [(2, "sh", "ls\n", "x\n"), (13, "python", "pass\n", None)]


def test_comparison_sees_words_and_not_figures():
    assert comparable("1.5 ms  kernel a1b2c3d4e5f6 [3, 4]") == comparable("12 us kernel 00ffee112233 [30, 4]")
    assert comparable("2 kernels") != comparable("2 launches")


def test_a_block_that_fails_is_named(tmp_path):
    with pytest.raises(AssertionError, match="line 7:\\s+1/0"):
        outputs_of([Block(3, "python", "x = 1", None, (0, 0)), Block(7, "python", "1/0", None, (0, 0))], tmp_path)
