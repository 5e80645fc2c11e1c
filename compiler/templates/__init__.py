"""Kernels that are built, not discovered: products, convolutions, attention. They write Kernel IR; the group's epilogue is spliced in."""
