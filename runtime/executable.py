"""How is a compiled model called?  Checks arguments, binds dims, hands addresses to the native entry point."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable

import numpy as np

from .artifact import Artifact
from .cpu import load_objects
from .cpu_features import check_target
from .errors import LaminaError
from .signature import Signature

if TYPE_CHECKING:
    from .memory import MemoryReport
    from .profile import Profile, Roofline

ALIGNMENT = 64


def aligned_empty(nbytes: int) -> np.ndarray:
    """Uninitialized bytes that begin at a multiple of 64."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start:start + nbytes]


def _data_offset() -> int:
    """How many bytes into a NumPy array object its data's address stands (after the object's head; NumPy's C API fixes
    it)."""
    probe = np.empty(1, np.uint8)
    for offset in (16, 32, 24, 40):
        if ctypes.c_size_t.from_address(id(probe) + offset).value == probe.ctypes.data:
            return offset
    raise LaminaError("this Python keeps NumPy's arrays in a way that lamina does not know",
                      hint="use CPython with NumPy 2")


DATA_OFFSET = _data_offset()


class Executable:
    """A compiled model in this process. Call it with NumPy arrays in the order of `inputs`; it returns a tuple.

    Threads may call one Executable at the same time: each call has an arena of its own, and arenas are kept.
    """

    def __init__(self, artifact: Artifact, measure_roofline: Callable[[int], Roofline] | None = None):
        """`measure_roofline(threads)` measures this machine, for profiles; None where nobody can."""
        self.artifact = artifact
        self.measure_roofline = measure_roofline
        manifest = artifact.manifest
        self.name: str = manifest["name"]
        check_target(manifest["target"], f"the model {self.name}")
        self.signature = Signature(manifest)
        self._layout = manifest["frame"]
        support = artifact.objects["support"]
        entry = manifest["entry"]
        self._library = load_objects([o for n, o in artifact.objects.items() if n != "support"], support,
                                     hashlib.blake2b(support, digest_size=8).hexdigest(),
                                     (f"{entry}_run_frame", f"{entry}_run_arrays", f"{entry}_arena"),
                                     tuple(manifest["support_exports"]))
        symbols = self._library.symbols
        self._run = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64,
                                     ctypes.c_int32)(symbols[f"{entry}_run_arrays"])
        self._arena = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(symbols[f"{entry}_arena"])
        self._constants = [resident(c) for c in artifact.constants]
        self._shared = {j: port["shares"] for j, port in enumerate(manifest["outputs"]) if "shares" in port}
        self._frames: list[_Frame] = []
        self._lock = threading.Lock()

    # ---- calling -----------------------------------------------------------------------------------------------------
    def __call__(self, *arrays, threads: int = 0) -> tuple[np.ndarray, ...]:
        """Run once. `arrays` in the order of `inputs`; `threads` caps the threads of this call (0: no cap).

        Outputs that share a donated input's memory are that array, overwritten (a copy, where it can't be written to or
        another input lies in its memory too).
        """
        inputs, extents = self.signature.bind(arrays)
        if self._shared:
            _own(inputs, self._shared.values())
            outputs = [inputs[self._shared[j]] if j in self._shared else np.empty(shape, dtype)
                       for j, (shape, dtype) in enumerate(self.signature.output_shapes(extents))]
        else:
            outputs = [np.empty(shape, dtype) for shape, dtype in self.signature.output_shapes(extents)]
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = _Frame(self)
        frame.set(inputs, outputs, extents)
        self._run(frame.address, DATA_OFFSET, threads)
        self._frames.append(frame)
        return tuple(outputs)

    @contextmanager
    def prepared(self, arrays, threads: int = 0):
        """`with executable.prepared(arrays) as (run, extents):` each `run(record)` is one native call on the same
        memory, which overwrites the results of the last (and copies of donated inputs). `record` is 0, or the address
        of words for a run that is measured (runtime/profile.py). `extents` are those of the dims, by name."""
        inputs, extents = self.signature.bind(arrays)
        for i in self._shared.values():
            inputs[i] = inputs[i].copy()
        outputs = [inputs[self._shared[j]] if j in self._shared else np.empty(shape, dtype)
                   for j, (shape, dtype) in enumerate(self.signature.output_shapes(extents))]
        frame = _Frame(self)
        frame.set(inputs, outputs, extents)
        for i, array in enumerate((*inputs, *outputs)):
            frame.words[self._layout["inputs"] + i] = array.ctypes.data
        entry = self._library.symbols[f"{self.artifact.manifest['entry']}_run_frame"]
        native = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32)(entry)

        def run(record: int) -> None:
            frame.words[self._layout["profile"]] = record
            native(frame.address, threads)
        yield run, dict(zip(self.signature.symbols, extents))

    def profile(self, *arrays, threads: int = 0, seconds: float = 1.0, roofline: Roofline | None = None) -> Profile:
        """Where the time of a run on `arrays` goes, by launch: time, operations, bytes, and the share of what this
        machine can do.

        Runs for about `seconds`, measured calls and others in turns. `roofline` is the machine; without one it is
        measured once for each process, where the compiler is installed. The result has `rows`, `text()`, `to_json()`
        and `save_trace(path)`.
        """
        from .profile import measure
        if roofline is None and self.measure_roofline is not None:
            roofline = self.measure_roofline(threads)
        return measure(self, arrays, threads=threads, seconds=seconds, roofline=roofline)

    def run(self, feeds: dict[str, np.ndarray], *, threads: int = 0) -> dict[str, np.ndarray]:
        """Run once with inputs by name; the outputs by name."""
        arrays = self.signature.by_name(feeds)
        return dict(zip(self.signature.output_names, self(*arrays, threads=threads)))

    # ---- looking -----------------------------------------------------------------------------------------------------
    @property
    def inputs(self):
        """The inputs in order: name, shape (ints and names of dims), dtype."""
        return self.signature.inputs

    @property
    def outputs(self):
        return self.signature.outputs

    @property
    def memory(self) -> MemoryReport:
        """arena_bytes, lower_bound, slots and owners of the memory plan; weight_bytes; `text()` and `svg()` draw it."""
        from .memory import MemoryReport
        return MemoryReport(self.artifact.manifest)

    @property
    def kernels(self) -> list[dict]:
        """The launches in program order: kernel name, kind, the ops that it fuses, the user's lines."""
        return self.artifact.manifest["launches"]

    @property
    def cost(self) -> dict:
        """flops, weight_bytes, input_bytes, output_bytes, arena_bytes, kernels and launches of one run."""
        return self.artifact.manifest["cost"]

    def text(self, stage: str) -> str:
        """The text of a stage: traced, canonical, fused, kernels, program, llvm or asm."""
        texts = self.artifact.texts
        if stage not in texts:
            raise ValueError(f"no text of stage {stage!r}; there are: {', '.join(texts) or 'none (loaded from a file)'}")
        text = texts[stage]
        return text() if callable(text) else str(text)

    def save(self, path) -> None:
        """Write the artifact (.lam), whole or not at all."""
        from .package import save_artifact
        save_artifact(self.artifact, path)

    def __repr__(self) -> str:
        return f"<Executable {self.name}: {', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}>"


def _own(inputs: list[np.ndarray], donated) -> None:
    """Replace those of the `donated` arrays by copies whose memory can't be written to, or is another input's too."""
    ends = []
    for i, array in enumerate(inputs):
        start = ctypes.c_size_t.from_address(id(array) + DATA_OFFSET).value
        ends.append((start, start + array.nbytes, i))
    ends.sort()
    crowded: set[int] = set()
    reached, owner = 0, -1
    for start, end, i in ends:
        if start < reached and end > start:
            crowded.update((i, owner))
        if end > reached:
            reached, owner = end, i
    for i in donated:
        if i in crowded or not inputs[i].flags.writeable:
            inputs[i] = inputs[i].copy()


class _Frame:
    """The words that one call hands to native code, with an arena of its own."""

    def __init__(self, executable: Executable):
        layout = executable._layout
        self.words = (ctypes.c_int64 * layout["size"])()
        self.address = ctypes.addressof(self.words)
        self.layout = layout
        self.executable = executable
        for i, constant in enumerate(executable._constants):
            self.words[layout["constants"] + i] = constant.ctypes.data
        self.arena = None
        self.extents: tuple | None = None

    def set(self, inputs, outputs, extents: tuple[int, ...]) -> None:
        words, layout = self.words, self.layout
        at = layout["inputs"]
        for array in inputs:
            words[at] = id(array)
            at += 1
        for array in outputs:
            words[at] = id(array)
            at += 1
        if extents == self.extents:
            return
        for i, extent in enumerate(extents):
            words[layout["symbols"] + i] = extent
        size = self.executable._arena(self.address + 8 * layout["symbols"])
        if self.arena is None or self.arena.nbytes < size:
            self.arena = aligned_empty(size)
        words[0] = self.arena.ctypes.data
        self.extents = extents
        self.arena_bytes = size


def resident(array: np.ndarray) -> np.ndarray:
    """The array as kernels read it: dense, in native byte order; small ones aligned to a vector, large ones where they
    lie.

    x86-64 and 64-bit Arm load elements and vectors from any address, so that weights are used inside of a mapped file.
    """
    is_aligned = array.nbytes >= 1 << 16 or array.ctypes.data % ALIGNMENT == 0
    if array.flags.c_contiguous and is_aligned and array.dtype.isnative:
        return array
    out = aligned_empty(array.nbytes).view(array.dtype).reshape(array.shape) if array.nbytes else np.empty(array.shape,
                                                                                                           array.dtype)
    out[...] = array
    return out
