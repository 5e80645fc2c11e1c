"""Object code is loaded by lamina itself: sections, symbols, relocations, rights, and what is refused."""

import ctypes
import os
import platform
import struct

import pytest

from lamina.compiler.codegen.object import compile_object
from lamina.compiler.targets.find import find_target
from lamina.runtime import loader
from lamina.runtime.elf import read_object
from lamina.runtime.errors import FormatError

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the loader is for x86-64; elsewhere LLVM links")

FIRST = """
@table = internal constant [4 x i64] [i64 2, i64 3, i64 5, i64 7]
@count = internal global i64 0
@text = private constant [6 x i8] c"hello\\00"
@chosen = internal constant ptr @second

declare i64 @strlen(ptr)
declare i64 @second(i64)
declare i64 @given(i64)

define i64 @prime(i64 %i) {
  %place = getelementptr i64, ptr @table, i64 %i
  %value = load i64, ptr %place
  ret i64 %value
}
define i64 @next() {
  %old = load i64, ptr @count
  %new = add i64 %old, 1
  store i64 %new, ptr @count
  ret i64 %new
}
define i64 @length() {
  %n = call i64 @strlen(ptr @text)
  ret i64 %n
}
define i64 @both(i64 %x) {
  %a = call i64 @second(i64 %x)
  %b = call i64 @given(i64 %a)
  ret i64 %b
}
define ptr @address() {
  ret ptr @second
}
define i64 @through() {
  %f = load ptr, ptr @chosen
  %n = call i64 %f(i64 4)
  ret i64 %n
}
"""
SECOND = "define i64 @second(i64 %x) {\n  %y = mul i64 %x, 10\n  ret i64 %y\n}\n"


def compiled(*texts):
    return [compile_object(text, find_target("x86-64-v2")) for text in texts]


@pytest.fixture(scope="module")
def given():
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda x: x + 7)


@pytest.fixture
def library(given):
    memory, symbols = loader.load(compiled(FIRST, SECOND), {"given": ctypes.cast(given, ctypes.c_void_p).value})

    def call(name, *arguments, result=ctypes.c_int64):
        return ctypes.CFUNCTYPE(result, *[ctypes.c_int64] * len(arguments))(symbols[name])(*arguments)
    call.memory, call.symbols = memory, symbols
    return call


def test_data_code_and_other_objects_are_found(library):
    assert [library("prime", i) for i in range(4)] == [2, 3, 5, 7]
    assert library("length") == 5
    assert library("both", 3) == 37
    assert library("address", result=ctypes.c_void_p) == library.symbols["second"]
    assert library("through") == 40


def test_variables_begin_at_zero_and_belong_to_one_library_and_process(library, given):
    assert [library("next") for _ in range(3)] == [1, 2, 3]
    _, symbols = loader.load(compiled(FIRST, SECOND), {"given": ctypes.cast(given, ctypes.c_void_p).value})
    other = ctypes.CFUNCTYPE(ctypes.c_int64)(symbols["next"])
    child = os.fork()
    if child == 0:
        os._exit(0 if library("next") == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert library("next") == 4  # the child's own copy changed, not this one
    del other


def test_no_page_is_writable_and_executable(library):
    begin = ctypes.addressof(ctypes.c_char.from_buffer(library.memory))
    rights = {}
    with open("/proc/self/maps", encoding="ascii") as file:
        for line in file:
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            if low < begin + len(library.memory) and high > begin:
                rights[low] = line.split()[1]
    assert sorted(rights.values()) == ["r--p", "r-xp", "rw-p"]


def test_what_is_nowhere_is_named():
    with pytest.raises(FormatError, match="'lamina_nowhere'"):
        loader.load(compiled("declare i64 @lamina_nowhere()\ndefine i64 @f() {\n  %x = call i64 @lamina_nowhere()\n  ret i64 %x\n}\n"), {})


def test_damaged_objects_are_refused():
    (image,) = compiled(SECOND)
    for wrong in (b"", image[:40], image[:len(image) // 2], b"x" * len(image)):
        with pytest.raises(FormatError):
            loader.load([wrong], {})


def test_an_unknown_relocation_is_refused(given):
    first, second = compiled(FIRST, SECOND)
    relocation = next(r for s in read_object(first).sections.values() for r in s.relocations)
    old = struct.pack("<QQq", relocation.offset, relocation.symbol << 32 | relocation.kind, relocation.addend)
    new = struct.pack("<QQq", relocation.offset, relocation.symbol << 32 | 99, relocation.addend)
    with pytest.raises(FormatError, match="kind 99"):
        loader.load([first.replace(old, new), second], {"given": ctypes.cast(given, ctypes.c_void_p).value})


def test_the_first_definition_of_a_name_counts():
    other = SECOND.replace("10", "20").replace("define", "define weak_odr")
    _, symbols = loader.load(compiled(SECOND, other), {})
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(symbols["second"])(1) == 10
