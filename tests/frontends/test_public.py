"""Is the public list whole: does every name in it exist, and is every array function in it?  And is importing quick?"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lamina as lm
from lamina.frontends import array

LISTED = {alias.asname or alias.name: node.module for block in ast.parse(Path(lm.__file__).read_text()).body if isinstance(block, ast.If)
          for node in block.body for alias in node.names}


@pytest.mark.parametrize("name", sorted(LISTED))
def test_names_of_the_list_are_found_where_it_says(name):
    module = __import__(f"lamina.{LISTED[name]}", fromlist=[name])
    assert getattr(lm, name) is getattr(module, name) and name in dir(lm)


def test_every_array_function_is_in_the_list():
    eager = {"bool", "e", "pi", "inf", "nan", "newaxis"} | {n for n in array.__all__ if isinstance(getattr(array, n), lm.DType)}
    assert set(array.__all__) - {"trace"} <= set(LISTED) | eager
    assert all(getattr(lm, name) is getattr(array, name) or name == "nan" for name in eager)


def test_importing_lamina_alone_loads_no_ops():
    code = "import sys, lamina; print([m for m in sys.modules if m.startswith(('lamina.compiler.ops', 'lamina.frontends', 'llvmlite'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_star_import_and_unknown_names():
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from lamina import nothing  # noqa: F401
    with pytest.raises(AttributeError, match="has no attribute '__nothing__'"):
        lm.__nothing__
