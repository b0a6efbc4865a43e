"""Numbers in sentences."""

from __future__ import annotations


def counted(count: int, noun: str, spec: str = "") -> str:
    """A number, formatted as ``spec`` says, with its noun: 1 picture, 2 pictures."""
    return f"{count:{spec}} {noun}{'' if count == 1 else 's'}"
