"""Local algebra: what a node becomes when a simpler one means the same. One module for each subject, one table."""

from . import empty  # first: the other rules then meet no tensors without elements
from . import arithmetic, casts, contract, convolution, gather, linear, logic, order, reduction, softmax, views
from .rule import RULES, RewriteBuilder, Rule

__all__ = ["RULES", "RewriteBuilder", "Rule", "arithmetic", "casts", "contract", "convolution", "empty", "gather",
           "linear", "logic", "order", "reduction", "softmax", "views"]
