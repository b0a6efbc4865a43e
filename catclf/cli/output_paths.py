"""Places for what a command writes, checked before its work: nothing that it reads is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catclf.errors import OutputError
from catclf.storage.files import require_writable
from catclf.text import printable


def require_output(output: Path, inputs: Sequence[Path]) -> None:
    """Raise OutputError unless a file can be put there that is neither an input nor part of one."""
    require_writable(output, inputs)
    require_no_image(output, inputs)


def require_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path]) -> None:
    """The same for those of several that are given, which must differ, too."""
    taken = list(inputs)
    for output in outputs:
        if output is not None:
            require_writable(output, taken)
            require_no_image(output, inputs)
            taken.append(output)


def require_no_image(output: Path, sources: Sequence[Path]) -> None:
    """Raise OutputError for an image in a class folder or of a table."""
    if not output.is_file():  # as is usual: then nothing of a source needs to be looked at
        return
    from catclf.datasets.open import holds

    for source in sources:
        if holds(source, output):
            raise OutputError(
                f"{printable(output)}: is an image of {printable(source)}, and saving would "
                "replace it: give another output name"
            )
