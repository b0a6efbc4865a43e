"""One scored image as a record: its line in four formats, a row of Parquet, or its bare path."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from catclf.cli.json_text import json_line, unicode_fields
from catclf.cli.stdout import as_options
from catclf.model.predict import Prediction
from catclf.text import printable

Line = Callable[[Prediction], bytes]


def writer(
    format: str, classes: tuple[str, str], *, fingerprint: str, colour: bool, encoding: str
) -> tuple[bytes, Line]:
    """The header, often empty, and a function that makes a record's line.

    Probabilities have as many digits as it takes to read the same float64 back, so that any
    decision can be reproduced from the output. Paths are written as the bytes that they are; only
    the table shows them as text of this ``encoding``.
    """
    if format == "table":
        width = max(5, *(len(printable(name)) for name in classes))
        head = f"{'label':<{width}}  P({printable(classes[1])})   path\n"
        line = partial(
            _table_line, width=width, positive=classes[1], colour=colour, encoding=encoding
        )
        return head.encode(encoding, "backslashreplace"), line
    if format == "csv":
        return b"path,label,probability,error\n", _csv_line()
    return b"", partial(_json_line, fingerprint=fingerprint) if format == "jsonl" else _tsv_line


def parquet_writer(classes: tuple[str, str], fingerprint: str) -> tuple[Line, Callable[[], bytes]]:
    """Functions that make the bytes of a record, and those of the end of a Parquet file.

    The columns are the keys of ``jsonl``. Raises SettingsError where pyarrow is not installed.
    """
    from catclf.storage.parquet import ParquetRows

    facts = {"catclf": json_line({"model": fingerprint, "classes": list(classes)}).strip()}
    rows = ParquetRows(_COLUMNS, facts)

    def line(record: Prediction) -> bytes:
        fields = unicode_fields(_fields(record, fingerprint))
        return rows.add([fields.get(name) for name in _COLUMNS])  # type: ignore[misc]

    return line, rows.end


_COLUMNS = {
    "path": "text",
    "label": "text",
    "probability": "number",
    "z": "number",
    "model": "text",
    "error": "text",
    "message": "text",
    "path_base64": "text",
    "label_base64": "text",
}


def path_line(record: Prediction, label: str, end: bytes) -> bytes:
    """The path alone, as its bytes, if the image has this label; else nothing."""
    if record.error is not None or record.label != label:
        return b""
    return os.fsencode(record.path) + end


def explained(failed: Prediction) -> str:
    """The error, and for data sets and lists the way to read them."""
    text = as_options(str(failed.error))
    if failed.kind == "not-a-picture":
        ending = os.path.splitext(failed.path)[1].lower()  # noqa: PTH122
        if ending in (".h5", ".hdf5", ".npz", ".csv", ".tsv"):
            return f"{text.partition(': it is ')[0]}: catclf evaluate takes data sets"
        if ending in (".txt", ".lst", ".list"):
            return f"{text}: @{printable(failed.path)} reads a list of names"
    return text


def _table_line(
    record: Prediction, width: int, positive: str, colour: bool, encoding: str
) -> bytes:
    label = f"{printable(record.label) or '-':<{width}}"
    percent = "-" if record.error is not None else f"{100 * record.probability:.2f} %"
    if colour:
        style = "1;32" if record.positive else "2"
        label = f"\x1b[{style}m{label}\x1b[0m"
    column = max(8, len(printable(positive)) + 3)
    line = f"{label}  {percent:>8}{'':{column - 8}}   {printable(record.path)}\n"
    return line.encode(encoding, "backslashreplace")


def _tsv_line(record: Prediction) -> bytes:
    """Three fields. The last two are empty where the image failed, so that no script that asks
    for a class or a number finds one, and the lines still match the inputs one to one."""
    probability = "" if record.error is not None else repr(record.probability)
    return _bytes(f"{_escaped(record.path)}\t{_escaped(record.label)}\t{probability}\n")


def _csv_line() -> Line:
    """A function that makes lines quoted as RFC 4180 says, which end with a newline alone."""
    import csv
    import io

    out = io.StringIO(newline="")
    # The module quotes only the line ends that are in its own: so both, and CR is cut off again.
    row = csv.writer(out, lineterminator="\r\n")

    def line(record: Prediction) -> bytes:
        out.seek(0)
        out.truncate()
        probability = "" if record.error is not None else repr(record.probability)
        row.writerow((record.path, record.label, probability, record.error or ""))
        return _bytes(out.getvalue()[:-2] + "\n")

    return line


def _json_line(record: Prediction, fingerprint: str) -> bytes:
    """Strict JSON in ASCII."""
    return json_line(_fields(record, fingerprint)).encode("ascii")


def _fields(record: Prediction, fingerprint: str) -> dict[str, object]:
    fields: dict[str, object] = {"path": str(record.path)}
    if record.error is not None:
        return fields | {"error": record.kind, "message": record.error}
    return fields | {
        "label": record.label,
        "probability": record.probability,
        "z": record.z,
        "model": fingerprint,
    }


def _bytes(line: str) -> bytes:
    """Text with its paths as the bytes that they are."""
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair of surrogates, which no path can hold
        return line.encode("utf-8", "backslashreplace")


def _escaped(text: str) -> str:
    """Backslash, tab and line ends as two characters, so that a record stays one line of fields."""
    for raw, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(raw, escape)
    return text
