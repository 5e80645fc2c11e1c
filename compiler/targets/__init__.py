"""Machines as tables: what a target can do, and how large its tiles are."""

from .find import all_targets as all_targets, find_target as find_target
from .target import Target as Target
