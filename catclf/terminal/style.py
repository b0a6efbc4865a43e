"""Text for a terminal of 80 columns: emphasis that is never the only sign of anything, and bars."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from catclf.text import aligned


@dataclass(frozen=True)
class Styling:
    """How a result is written: with or without colour, with or without characters beyond ASCII.

    Only the terminal's own bold, dim, green and magenta are used, which suit light and dark
    themes; green and magenta differ for every kind of colour vision, and signs say the same.
    """

    colour: bool = False
    ascii_only: bool = False

    def bold(self, text: str) -> str:
        return self._wrap("1", text)

    def dim(self, text: str) -> str:
        return self._wrap("2", text)

    def signed(self, value: float, text: str) -> str:
        """Green where the value is above zero, magenta below."""
        return self._wrap("32" if value > 0 else "35", text) if value else text

    def verdict(self, good: bool, text: str) -> str:
        """Green when good, else bold magenta."""
        return self._wrap("32" if good else "1;35", text)

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]], sides: str) -> list[str]:
        """Rows under dim heads, as ``text.aligned`` puts them."""
        return aligned([tuple(map(self.dim, heads)), *rows], sides)

    def bar(self, value: float, largest: float, width: int) -> str:
        """A bar to the right of zero for value > 0, to the left below: 2 * width + 1 characters.

        ``largest`` is the value that fills a side.
        """
        filled = round(min(abs(value) / largest, 1.0) * width) if largest > 0 else 0
        block, zero = ("#", "|") if self.ascii_only else ("█", "│")
        left = (block * filled if value < 0 else "").rjust(width)
        right = (block * filled if value > 0 else "").ljust(width)
        return self.signed(value, left) + zero + self.signed(value, right)

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text.strip() else text


def stdout_styling() -> Styling:
    """Colour on a terminal that has it; other signs than ASCII where they can be written."""
    from catclf.terminal.stream import use_colour

    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    return Styling(use_colour(sys.stdout), ascii_only=not encoding.startswith("utf"))
