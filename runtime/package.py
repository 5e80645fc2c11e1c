"""How does an artifact lie in a file?  A `.lam` file: a plain ZIP of stored members, each at a multiple of 64 bytes.

    manifest.json           what the model takes and gives, its target and memory, and the hash of every other member
    objects/NAME.o          object code (ELF)
    constants.safetensors   the constants, which are mapped, not read, and the state that a library begins with

Loading checks the format, the hash of every member (SHA-256; of constants in chunks, on several threads, 1 to 2 GB/s for each) and that
this CPU has the instructions. `verify=False` skips the hash of the constants: then only the pages that a run touches are read.
Nothing in the file is executed or unpickled by loading it; running it runs its object code.
"""

from __future__ import annotations

import json
import mmap
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from .artifact import FORMAT_VERSION, Artifact
from .atomic import written_whole
from .cpu_features import check_target
from .digest import CHUNK, chunk_digests, digest, file_chunk_digests
from .errors import FormatError, LaminaError
from .signature import numpy_dtype
from .tensors import read_tensors, write_tensors

ALIGNMENT = 64
MANIFEST, CONSTANTS = "manifest.json", "constants.safetensors"
_PADDING_FIELD = 0xD935  # the ZIP extra field that aligns members, as Android's zipalign writes it
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then the lengths of name and extra fields
_ZIP64_FIELD = 20
_KEYS = ("name", "entry", "target", "frame", "support_exports", "inputs", "outputs", "symbols", "constants", "memory", "launches", "cost")

#: Where a constant that is not stored lies: the number of a source file, and the offset in it in bytes.
Origin = tuple[int, int]


# ---- writing ------------------------------------------------------------------------------------------------------------
def save_artifact(artifact: Artifact, path, *, origins: Mapping[int, Origin] = {}, durable: bool = True) -> None:
    """Write `artifact` to `path`, whole or not at all. Equal artifacts give equal files.

    Constants in `origins` (by number) are left out of the file: who loads it gives the source files that hold them.
    """
    path = Path(path)
    stored = {str(i): c for i, c in enumerate(artifact.constants) if i not in origins}
    stored |= {f"state.{i}": a for i, a in enumerate(artifact.state)}
    try:
        with written_whole(path, durable=durable) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            members: dict[str, dict] = {}
            for name, image in artifact.objects.items():
                if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
                    raise FormatError(f"{name!r} can't name an object in a file")
                _write_member(archive, f"objects/{name}.o", lambda out: out.write(image))
                members[f"objects/{name}.o"] = {"bytes": len(image), "sha256": digest(image)}
            hashed = _Hashed()

            def constants(out) -> None:
                hashed.out = out
                write_tensors(hashed, stored)
            _write_member(archive, CONSTANTS, constants)
            members[CONSTANTS] = {"bytes": hashed.size, "chunk": CHUNK, "sha256": hashed.finish()}
            manifest = artifact.manifest | {"members": members} | ({"origins": {str(i): list(o) for i, o in origins.items()}} if origins else {})
            _write_member(archive, MANIFEST, lambda out: out.write(json.dumps(manifest, indent=1).encode()))
    except OSError as error:
        raise LaminaError(f"can't write {path}: {error.strerror or error}") from error


def _write_member(archive: zipfile.ZipFile, name: str, write) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no clock: equal contents, equal file
    info.external_attr = 0o644 << 16
    start = archive.start_dir + _LOCAL_HEADER.size + len(name.encode()) + _ZIP64_FIELD + 6
    padding = -start % ALIGNMENT
    info.extra = struct.pack("<HHH", _PADDING_FIELD, 2 + padding, ALIGNMENT) + bytes(padding)
    with archive.open(info, "w", force_zip64=True) as out:
        write(out)


class _Hashed:
    """Passes what is written on and hashes it in chunks."""

    def __init__(self):
        self.out = None
        self.size = 0
        self.digests: list[str] = []
        self.rest = bytearray()

    def write(self, data) -> None:
        self.out.write(data)
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        self.size += len(view)
        if self.rest:
            room = CHUNK - len(self.rest)
            self.rest += view[:room]
            view = view[room:]
            if len(self.rest) == CHUNK:
                self.digests.append(digest(self.rest))
                self.rest.clear()
        whole = len(view) // CHUNK * CHUNK
        if whole:
            self.digests += chunk_digests(view[:whole])
        self.rest += view[whole:]

    def finish(self) -> list[str]:
        return self.digests + ([digest(self.rest)] if self.rest else [])


# ---- reading ------------------------------------------------------------------------------------------------------------
def load_artifact(path, *, verify: bool = True, runnable: bool = True, sources: Sequence = ()) -> Artifact:
    """The artifact in the file `path`; its constants are mapped read-only.

    `verify=False` skips the hash of the constants, `runnable=False` the question whether this machine can run the code (to link it
    for another). `sources` are the files that hold what was left out when it was saved. FormatError: no artifact, damaged (the
    message names the member), cut short, of another version. UnsupportedError: another architecture, a CPU feature is missing.
    """
    path = Path(path)
    members, start = _open(path)
    if MANIFEST not in members:
        raise FormatError(f"{path} is a ZIP, but no lamina artifact: it has no {MANIFEST}")
    manifest = _manifest(path, members)
    if runnable:
        check_target(manifest["target"], str(path))
    objects = {}
    for name, row in manifest["members"].items():
        if name not in members:
            raise FormatError(f"{path}: the member {name} is missing")
        data = members[name]
        if len(data) != row["bytes"]:
            raise FormatError(f"{path}: the member {name} has {len(data)} bytes, {row['bytes']} were written")
        if name == CONSTANTS:
            if verify:
                _verify_chunks(path, name, data.ctypes.data - start, data.nbytes, row)
        else:
            image = data.tobytes()
            if digest(image) != row["sha256"]:
                raise FormatError(f"{path}: the member {name} is damaged (its hash is not the manifest's)")
            objects[name.removeprefix("objects/").removesuffix(".o")] = image
    origins = {int(i): tuple(o) for i, o in manifest.pop("origins", {}).items()}
    stored = read_tensors(members[CONSTANTS], f"{path}: {CONSTANTS}")
    constants = _constants(path, manifest["constants"], stored, origins, sources)
    state = _state(path, manifest, stored)
    del manifest["members"]
    return Artifact(manifest, objects, constants, state=state)


def _open(path: Path) -> tuple[dict[str, np.ndarray], int]:
    """(the members of a ZIP as views of the mapped file, the address of its first byte)."""
    try:
        with open(path, "rb") as file:
            if not file.seek(0, 2):
                raise FormatError(f"{path} is empty")
            mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
            with zipfile.ZipFile(file) as archive:
                return {info.filename: _member(path, mapped, info) for info in archive.infolist()}, mapped.ctypes.data
    except (zipfile.BadZipFile, struct.error, NotImplementedError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} {_what_is_wrong(path)}") from error
    except OSError as error:
        raise LaminaError(f"can't read {path}: {error.strerror or error}") from error


def _member(path: Path, mapped: np.ndarray, info: zipfile.ZipInfo) -> np.ndarray:
    header = mapped[info.header_offset:info.header_offset + _LOCAL_HEADER.size].tobytes()
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header) if len(header) == _LOCAL_HEADER.size else (b"", 0, 0)
    begin = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    if signature != b"PK\3\4" or begin + info.file_size > len(mapped):
        raise FormatError(f"{path}: the member {info.filename} is damaged (its header is not where the directory says)")
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise FormatError(f"{path}: the member {info.filename} is compressed or encrypted, which no artifact's is",
                          hint="unpack it and save it again with lamina")
    data = mapped[begin:begin + info.file_size]
    if info.filename == MANIFEST and zlib.crc32(data) != info.CRC:  # the hashes of the others are in it
        raise FormatError(f"{path}: the member {MANIFEST} is damaged (its checksum is not the directory's)")
    return data


def _what_is_wrong(path: Path) -> str:
    """Why a file is no readable ZIP: not one at all, or cut short in a member, which the local headers tell."""
    data, at, last = path.read_bytes(), 0, ""
    if data[:4] != b"PK\3\4":
        return "is no lamina artifact (a ZIP file begins with PK)"
    while data[at:at + 4] == b"PK\3\4" and at + _LOCAL_HEADER.size <= len(data):
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data, at)
        begin = at + _LOCAL_HEADER.size + name_bytes + extra_bytes
        last = data[at + _LOCAL_HEADER.size:at + _LOCAL_HEADER.size + name_bytes].decode("utf-8", "replace")
        size = struct.unpack_from("<I", data, at + 22)[0]
        extra = data.find(struct.pack("<HH", 1, 16), at + _LOCAL_HEADER.size + name_bytes, begin)
        if size == 0xFFFFFFFF and extra >= 0:
            size = struct.unpack_from("<Q", data, extra + 4)[0]
        at = begin + size
        if at > len(data):
            return f"is cut short in the member {last}"
    return f"is cut short or damaged after the member {last}"


def _manifest(path: Path, members: Mapping[str, np.ndarray]) -> dict:
    try:
        manifest = json.loads(members[MANIFEST].tobytes())
        version = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: the member {MANIFEST} is damaged: {error}") from error
    if version != FORMAT_VERSION:
        raise FormatError(f"{path} has format {version}, this lamina reads {FORMAT_VERSION}",
                          hint="build it again with this lamina, or load it with the one that made it")
    missing = [key for key in (*_KEYS, "members") if key not in manifest]
    if missing:
        raise FormatError(f"{path}: the member {MANIFEST} is damaged: {', '.join(missing)} missing")
    return manifest


def _verify_chunks(path: Path, name: str, begin: int, size: int, row: dict) -> None:
    chunk = row["chunk"]
    found = file_chunk_digests(path, begin, size, chunk)
    wrong = [i for i, (a, b) in enumerate(zip(found, row["sha256"])) if a != b]
    if wrong or len(found) != len(row["sha256"]):
        where = f" between bytes {wrong[0] * chunk:,} and {(wrong[0] + 1) * chunk:,}" if wrong else ""
        raise FormatError(f"{path}: the member {name} is damaged{where} (its hash is not the manifest's)")


def _constants(path: Path, rows: list[dict], stored: Mapping[str, np.ndarray], origins: Mapping[int, Origin], sources: Sequence) -> list[np.ndarray]:
    files = [np.memmap(source, np.uint8, "r") for source in sources]
    constants = []
    for i, row in enumerate(rows):
        shape, dtype = tuple(row["shape"]), numpy_dtype(row["dtype"])
        if i in origins:
            number, offset = origins[i]
            end = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            if number >= len(files) or end > len(files[number]):
                raise FormatError(f"{path}: constant {i} lies in a source file that was not given, or is shorter now")
            constants.append(files[number][offset:end].view(dtype).reshape(shape))
        elif str(i) not in stored or stored[str(i)].shape != shape or stored[str(i)].dtype != dtype:
            raise FormatError(f"{path}: the member {CONSTANTS} has no constant {i} of type {row['dtype']}{list(shape)}")
        else:
            constants.append(stored[str(i)])
    return constants


def _state(path: Path, manifest: dict, stored: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    state = []
    for i, row in enumerate(manifest.get("state", ())):
        port, array = manifest["inputs"][row["input"]], stored.get(f"state.{i}")
        if array is None or array.shape != tuple(port["shape"]) or array.dtype != numpy_dtype(port["dtype"]):
            raise FormatError(f"{path}: the member {CONSTANTS} has no array for the state {port['name']!r}")
        state.append(array)
    return state
