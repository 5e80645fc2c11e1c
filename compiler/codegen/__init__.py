"""Kernels to LLVM IR text, programs to a native entry point, text to object code."""
