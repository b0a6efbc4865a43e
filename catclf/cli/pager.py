"""Long texts on a terminal go through a pager, as git's do: PAGER, or less."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

from catclf.terminal.stream import is_terminal

allowed = True  # --no-pager makes it False
LESS = "less -FRX"  # ends by itself where all is seen, keeps colours and what was shown


class _Text(StringIO):
    """Collects what is printed, as a terminal would get it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@contextmanager
def paged() -> Iterator[None]:
    """A block whose printed text is shown by a pager if it is longer than the terminal.

    The text is printed as it is where stdin or stdout is no terminal, or PAGER is empty or cat.
    """
    pager = os.environ.get("PAGER", LESS)
    out = sys.stdout
    if not (allowed and pager.strip() not in ("", "cat") and _both_ends()):
        yield
        return
    sys.stdout = text = _Text()
    try:
        yield
    finally:
        sys.stdout = out
        _show(text.getvalue(), pager)


def _both_ends() -> bool:
    return is_terminal(sys.stdout) and is_terminal(sys.stdin)


def _show(text: str, pager: str) -> None:
    import shlex
    import shutil
    import subprocess

    if text.count("\n") >= shutil.get_terminal_size().lines:
        try:
            subprocess.run(shlex.split(pager), input=text.encode(), check=False)
        except (OSError, ValueError):  # there is no such pager
            pass
        else:
            return
    sys.stdout.write(text)
