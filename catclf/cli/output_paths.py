"""Output files of a command, checked before its work: none replaces a file that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catclf.errors import OutputError, SettingsError
from catclf.storage.files import require_writable
from catclf.storage.location import is_remote, locate
from catclf.text import printable, reason


def require_output(output: Path, inputs: Sequence[Path]) -> None:
    """Raise OutputError unless ``output`` can be written and is no input or image of an input."""
    require_writable(output, inputs)
    require_no_image(output, inputs)


def require_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path]) -> None:
    """Check several outputs, None for one that is not wanted: they must also differ."""
    taken = list(inputs)
    for output in outputs:
        if output is not None:
            require_writable(output, taken)
            require_no_image(output, inputs)
            taken.append(output)


def on_disk(path: Path | None) -> Path | None:
    """Refuse a store, for an option whose file grows while it is there. Raises SettingsError."""
    if path is not None and is_remote(path):
        raise SettingsError(f"{printable(path)}: is written on disk alone: name a file there")
    return path


def require_no_image(output: Path, sources: Sequence[Path]) -> None:
    """Raise OutputError for an image in a class folder or of a table."""
    if not _is_there(output):  # the common case, in which no source needs to be opened
        return
    from catclf.datasets.holds import holds

    for source in sources:
        if holds(source, output):
            raise OutputError(
                f"{printable(output)}: is an image of {printable(source)}, and saving would "
                "replace it: give another output name"
            )


def _is_there(output: Path) -> bool:
    try:
        return locate(output).is_file()
    except OSError as error:
        raise OutputError(f"{printable(output)}: cannot be looked at: {reason(error)}") from error
