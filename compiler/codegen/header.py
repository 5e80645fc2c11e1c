"""What does a C programmer include?  The header of a model: its functions, with shapes, dtypes, status codes and an example."""

from __future__ import annotations

from .c_names import ERROR_CPU, ERROR_EXTENT, ERROR_FILE, ERROR_FORMAT, ERROR_MEMORY, OK, CArray, CModel

_DIMS = "const int64_t *dims"
_NOTES = {"float16": "IEEE half, as its bits", "bfloat16": "bfloat16, as its bits (the upper half of a float)", "bool": "one byte, 0 or 1"}


def header_text(model: CModel, manifest: dict, version: str) -> str:
    """The header of `model`, for C99 and C++."""
    target, name = manifest["target"], model.name
    upper, guard = name.upper(), f"LAMINA_{name.upper()}_H"
    lines = [f"/* {name}: a model compiled by lamina {version} for {target['name']} ({target['triple']}). Written by the compiler.", "",
             *_signature(model), "   Arrays are dense and row-major. Working memory of one run: "
             f"{manifest['memory']['arena_bytes']:,} bytes{' for the largest extents' if model.symbols else ''}; constants: "
             f"{manifest['cost']['weight_bytes']:,} bytes, in the library.",
             "   Link with -lm -lpthread where the library is static.", "", *_example(model), "*/",
             f"#ifndef {guard}", f"#define {guard}", "", "#include <stdbool.h>", "#include <stdint.h>", "",
             "#ifdef __cplusplus", 'extern "C" {', "#endif", "",
             "/* What the functions below return. */", "enum {",
             f"    {upper}_OK = {OK},", f"    {upper}_ERROR_EXTENT = {ERROR_EXTENT}, /* a dim breaks its facts: nothing was run */",
             f"    {upper}_ERROR_MEMORY = {ERROR_MEMORY}, /* the system gives no memory: nothing was run */",
             f"    {upper}_ERROR_CPU = {ERROR_CPU}{',' if model.state else ' '}    /* this CPU lacks instructions of {target['name']}: "
             "nothing was run */"]
    if model.state:
        lines += [f"    {upper}_ERROR_FILE = {ERROR_FILE},   /* the file can't be read or written */",
                  f"    {upper}_ERROR_FORMAT = {ERROR_FORMAT}  /* the file is damaged, cut short, or that of another state: "
                  "nothing was loaded */"]
    lines += ["};", "", *_numbers(model), *(_state_functions(model) if model.state else _functions(model)),
              "/* Bytes of working memory of one run with these dims. Each call that runs at the same time has its own; it is kept. */",
              f"int64_t {name}_arena_bytes({_DIMS});", "",
              "/* The most threads that runs may use from now on, in all models that share this library's thread pool. */",
              f"void {name}_set_threads(int32_t n);", "",
              "/* Free the working memory that is kept between runs. */", f"void {name}_release(void);", "",
              "/* The version of lamina that compiled the model. */", f"const char *{name}_version(void);", "",
              "#ifdef __cplusplus", "}", "#endif", "", "#endif", ""]
    return "\n".join(lines)


def _functions(model: CModel) -> list[str]:
    name, lines = model.name, []
    if model.is_typed:
        lines = ["/* Run the model once. Several threads may call it at the same time. */",
                 f"int32_t {name}({_parameters(model)});", ""]
    return [*lines, "/* The same with arrays by number: dims, inputs and outputs in the order above "
            "(dims may be NULL if there are none);",
            "   at most `threads` threads take part, 0 for all that the process may use. */",
            f"int32_t {name}_run({_DIMS}, const void *const *inputs, void *const *outputs, int32_t threads);", "",
            "/* Write every extent of every input, then of every output, in order, to extents. */",
            f"void {name}_extents({_DIMS}, int64_t *extents);", ""]


def _state_functions(model: CModel) -> list[str]:
    name = model.name
    parameters = _parameters(model)
    return ["/* What steps change. One thread at a time may use a state; several states may be used at the same time. */",
            f"typedef struct {name}_state {name}_state;", "",
            f"/* A new state with the first values; NULL if the system gives no memory. {name}_free frees it. */",
            f"{name}_state *{name}_init(void);", f"void {name}_free({name}_state *state);", "",
            "/* One step, which changes the state. It stays as it is where the step returns an error. */",
            f"int32_t {name}_step({name}_state *state{'' if parameters == 'void' else ', ' + parameters});", "",
            "/* An array of the state, to be read or written until the next step; NULL if there is none of this number. */",
            f"void *{name}_array({name}_state *state, int32_t number);", "",
            "/* Write the state to a safetensors file, whole or not at all, under the names above; take it from such a file:",
            "   all of it, or, where a name, shape or dtype is another, nothing. */",
            f"int32_t {name}_save(const {name}_state *state, const char *path);",
            f"int32_t {name}_load({name}_state *state, const char *path);", ""]


def _signature(model: CModel) -> list[str]:
    lines = []
    groups = [("inputs", model.given), ("outputs", model.returned)]
    for title, arrays in [("state", model.kept)] * bool(model.state) + groups:
        lines.append(f"   {title}:")
        lines += [f"     {a.identifier}: {_plain(a)}{a.dtype} {_shape(a)}{_note(a)}{_sharing(a, model)}" for a in arrays] or ["     none"]
    if model.symbols:
        lines.append("   dims:")
        for s in model.symbols:
            facts = f"{s.lower} or more" if s.upper is None else f"{s.lower} to {s.upper}"
            lines.append(f"     {s.identifier}: {_plain(s)}{facts}"
                         + (f", a multiple of {s.multiple}" if s.multiple > 1 else ""))
    return [*lines, ""]


def _plain(row) -> str:
    """The model's own name of an array or dim where it is another than the identifier, as it may stand in a comment."""
    if row.name == row.identifier:
        return ""
    return row.name.replace("*/", "* /").replace("/*", "/ *").replace("\n", " ") + ", "


def _shape(array: CArray) -> str:
    return "[" + ", ".join(map(str, array.shape)) + "]"


def _note(array: CArray) -> str:
    return f" ({_NOTES[array.dtype]})" if array.dtype in _NOTES else ""


def _sharing(array: CArray, model: CModel) -> str:
    is_given = array.shares is not None and model.inputs[array.shares] in model.given
    return f", may be the same array as {model.inputs[array.shares].identifier}" if is_given else ""


def _parameters(model: CModel) -> str:
    words = [f"int64_t {s.identifier}" for s in model.symbols]
    words += [f"const {a.c_type} *{a.identifier}" for a in model.given] + [f"{a.c_type} *{a.identifier}" for a in model.returned]
    return ", ".join(words) or "void"


def _numbers(model: CModel) -> list[str]:
    upper, lines = model.name.upper(), []
    groups = [("INPUT", model.given), ("OUTPUT", model.returned)]
    numbered = [("dims", "DIM", model.symbols), ("inputs", *groups[0]), ("outputs", *groups[1])]
    if model.state:
        numbered = [("arrays of the state", "STATE", model.kept)]
    for title, kind, rows in numbered:
        words = [f"{upper}_{kind}_{row.identifier.upper()} = {i}" for i, row in enumerate(rows)]
        lines += [f"/* The {title} by number, and how many there are. */", f"enum {{ {', '.join([*words, f'{upper}_{kind}S = {len(rows)}'])} }};"]
    sized = [(kind, a) for kind, arrays in [("STATE", model.kept), *groups] for a in arrays if a.elements is not None]
    if sized:
        lines += ["/* Elements of the arrays whose shape is fixed. */"]
        lines += [f"#define {upper}_{kind}_{a.identifier.upper()}_ELEMENTS INT64_C({a.elements})" for kind, a in sized]
    return [*lines, ""]


def _example(model: CModel) -> list[str]:
    lines = ["   Example:", "", f'     #include "{model.name}.h"', "     #include <stdio.h>", "     #include <stdlib.h>", "", "     int main(void) {"]
    lines += [f"       int64_t {s.identifier} = {_possible(s)};" for s in model.symbols]
    for array in (*model.given, *model.returned):
        count = " * ".join([f"({_in_c(d, model)})" if isinstance(d, list) else _in_c(d, model) for d in array.form] or ["1"])
        lines.append(f"       {array.c_type} *{array.identifier} = calloc({count}, sizeof *{array.identifier});")
    arguments = ", ".join([s.identifier for s in model.symbols] + [a.identifier for a in (*model.given, *model.returned)])
    if model.state:
        name, upper, call = model.name, model.name.upper(), "state" + (", " + arguments if arguments else "")
        lines += [f"       {name}_state *state = {name}_init();",
                  f"       int32_t status = state ? {name}_step({call}) : {upper}_ERROR_MEMORY;",
                  f'       if (status == {upper}_OK) status = {name}_save(state, "{name}.safetensors");',
                  f"       {name}_free(state);"]
    elif model.is_typed:
        lines.append(f"       int32_t status = {model.name}({arguments});")
    else:
        for kind, arrays, const in (("inputs", model.inputs, "const "), ("outputs", model.outputs, "")):
            lines.append(f"       {const}void *{kind}[] = {{ {', '.join(a.identifier for a in arrays)} }};")
        lines.append(f"       int64_t dims[] = {{ {', '.join(s.identifier for s in model.symbols) or '0'} }};")
        lines.append(f"       int32_t status = {model.name}_run(dims, inputs, outputs, 0);")
    return [*lines, f'       if (status != {model.name.upper()}_OK) fprintf(stderr, "{model.name}: status %d\\n", (int)status);',
            "       return status;", "     }"]


def _possible(symbol) -> int:
    """A value that the facts allow."""
    return -(-max(symbol.lower, 1) // symbol.multiple) * symbol.multiple


def _in_c(form, model: CModel) -> str:
    """A dim (the manifest's form) as a C expression of the dims' identifiers; no dim is negative, so division truncates rightly."""
    if isinstance(form, int):
        return str(form)
    if isinstance(form, str):
        return next(s.identifier for s in model.symbols if s.name == form)
    if form[0] == "floordiv":
        return f"({_in_c(form[1], model)}) / {form[2]}"
    terms = []
    for coefficient, atoms in form[1]:
        factors = [f"({_in_c(a, model)})" if not isinstance(a, str) else _in_c(a, model) for a in atoms]
        terms.append(" * ".join(factors if coefficient == 1 and factors else [str(coefficient), *factors]))
    return " + ".join(terms)
