"""Kernel: ordered, explicit loops over buffers; what a fused group becomes before it is machine code."""
