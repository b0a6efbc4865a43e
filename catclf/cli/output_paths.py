"""Output files of a command, checked before its work: what is there must be of the same kind.

An output replaces a file that this program wrote, a text where it is one, an empty file, or none.
It never replaces an image, an archive, or what was named as a source. No source is listed or
opened to know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from catclf.errors import OutputError
from catclf.storage.files import require_writable
from catclf.storage.local import kind_of_bytes
from catclf.storage.location import locate
from catclf.text import reason

_LOOKED_AT = 1 << 20  # bytes in which the marks of this program are
_TEXTS = (".html", ".htm", ".svg", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".log", ".md")


def require_output(output: Path, inputs: Sequence[Path]) -> None:
    """Raise OutputError unless ``output`` can be written, and replaces nothing of another kind."""
    require_outputs([output], inputs)


def require_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path]) -> None:
    """Check several outputs, None for one that is not wanted: they must also differ."""
    taken = list(inputs)
    for output in outputs:
        if output is not None:
            require_writable(output, taken)
            require_own(output)
            taken.append(output)


def require_own(output: Path, *, records: bool = False) -> None:
    """Raise OutputError for a file of another kind that is there.

    ``records`` replace whatever is of no known kind, as text and Parquet are.
    """
    place = locate(output)
    try:
        if not place.is_file() or not place.size():
            return
        with place.stream() as file:
            what = _foreign(file, output, records)
    except OSError as error:
        raise OutputError(f"{place.shown}: cannot be looked at: {reason(error)}") from error
    if what:
        raise OutputError(
            f"{place.shown}: is {what}, and saving would replace it: give another output name"
        )


def _foreign(file: BinaryIO, output: Path, records: bool) -> str:
    """What a file is that no output may replace; "" for one of the same kind."""
    from catclf.images.formats import sniffed

    start = file.read(_LOOKED_AT)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        from catclf.datasets import is_packed

        if is_packed(output.parent):
            return "a shard of a packed folder"
        return "" if b"catclf_fit" in start else "an HDF5 file of another program"
    if start.startswith(b"PK"):
        file.seek(-min(file.seek(0, 2), 1 << 16), 2)
        return "" if b"meta.npy" in file.read() else "an archive that catclf did not make"
    if b"catclf" in start[:4096] or start.startswith(b'{"step": '):  # the latter a log of steps
        return ""
    file.seek(0)
    if sniffed(file):
        return "an image that catclf did not make"
    is_text = b"\0" not in start and output.suffix.lower() in _TEXTS
    return "" if is_text or (records and not kind_of_bytes(start)) else "a file of another kind"
