"""Checkpoints: one safetensors file each, all that a run needs to go on, or a user to draw.

`file_format` says what is in a file; `checkpoints` writes models into such files, and back. A file
is written beside its place, flushed and renamed: there is always either the old one or the new
one, whole. Arrays in it are host arrays; saving does not move the live model.
"""

from .checkpoints import load, pretrained, read, save
from .file_format import Checkpoint

__all__ = ["Checkpoint", "load", "pretrained", "read", "save"]
