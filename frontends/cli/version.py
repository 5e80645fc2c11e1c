"""Which versions are these?  lamina's and those of what it stands on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from ...runtime.version import VERSION

PACKAGES = ("numpy", "llvmlite", "networkx", "ml_dtypes", "onnx", "rich", "platformdirs", "safetensors", "onnxruntime", "torch")


def find_versions() -> dict[str, str | None]:
    """The version of lamina, Python and each package; None where one is not installed. Nothing is imported."""
    found: dict[str, str | None] = {"lamina": VERSION, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def llvm_version() -> str:
    """The version of LLVM inside llvmlite."""
    import llvmlite.binding as llvm
    return ".".join(map(str, llvm.llvm_version_info))


def print_version(console) -> int:
    """`lamina --version`."""
    versions = find_versions()
    if console.json:
        console.result("version", {"versions": versions, "llvm": llvm_version()})
    else:
        console.print(f"lamina {VERSION} (Python {versions['python']}, NumPy {versions['numpy']}, llvmlite {versions['llvmlite']} "
                      f"with LLVM {llvm_version()})")
    return 0
