"""LLVM IR text from Kernel IR. Text, not llvmlite.ir objects: those are slow, and refuse attributes that kernels need."""
