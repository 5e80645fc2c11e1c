"""What does code generation need to know of a machine?"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.dtypes import DType
from ..core.errors import CompilerError

# Intrinsics that every CPU target here selects for scalars and vectors. LLVM ends the process on one that it can't
# select, so nothing else may reach it.
_PORTABLE = ("llvm.fabs.", "llvm.sqrt.", "llvm.fma.", "llvm.fmuladd.", "llvm.floor.", "llvm.ceil.", "llvm.trunc.", "llvm.roundeven.",
             "llvm.abs.", "llvm.smin.", "llvm.smax.", "llvm.umin.", "llvm.umax.", "llvm.fptosi.sat.", "llvm.fptoui.sat.",
             "llvm.masked.load.", "llvm.masked.store.", "llvm.masked.gather.", "llvm.masked.scatter.", "llvm.prefetch.", "llvm.memcpy.",
             "llvm.memset.")

SCALEF = "llvm.x86.avx512.mask.scalef."

LINE_BYTES = 64  # of a cache


@dataclass(frozen=True)
class Target:
    """A CPU: LLVM's names for it, the width of its vectors in bytes, and the tiles that its kernels use.

    `tile_rows` x (`tile_vectors` vectors) is the matmul microkernel's register tile; caches in bytes, of one core.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    has_fma: bool
    has_half_conversion: bool
    tile_rows: int
    tile_vectors: int
    l1_bytes: int = 32 << 10
    l2_bytes: int = 512 << 10
    required: tuple[str, ...] = ()  # CPU features, as the operating system names them, without which code must not run
    l1_ways: int = 8
    has_scalef: bool = False  # an instruction for x * 2^n on full vectors

    def lanes(self, dtype: DType) -> int:
        """Elements of `dtype`'s compute type in one vector."""
        return self.vector_bytes // dtype.compute.itemsize

    def share_sets(self, apart: int, count: int) -> bool:
        """Whether `count` lines that lie `apart` bytes from each other fall into one set of the L1 cache, which can't hold them."""
        return apart > 0 and apart % (self.l1_bytes // self.l1_ways) == 0 and count > self.l1_ways

    @property
    def architecture(self) -> str:
        return self.triple.split("-")[0]

    def require_intrinsic(self, name: str) -> None:
        if not name.startswith(_PORTABLE + (SCALEF,) * self.has_scalef):
            raise CompilerError(f"the intrinsic {name} is not on the list of those that {self.name} can select")
