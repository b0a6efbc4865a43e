"""One scored picture as a line of text, in four formats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from catclf.files import printable


@dataclass(frozen=True)
class Record:
    """What is known of one input: label, probability and z, or the error and its kind."""

    path: str
    label: str = ""
    probability: float = float("nan")
    z: float = float("nan")
    error: str | None = None
    kind: str = ""

    @property
    def shown(self) -> str:
        """The path as it may be printed on one line."""
        return printable(self.path)


def writer(
    format: str, classes: tuple[str, str], *, colour: bool
) -> tuple[str, Callable[[Record], str]]:
    """The header, often empty, and a function that makes a record's line.

    Probabilities have as many digits as it takes to read the same float64 back, so that any
    decision can be reproduced from the output.
    """
    if format == "table":
        width = max(5, *(len(printable(name)) for name in classes))
        head = f"{'label':<{width}}  P({printable(classes[1])})   path\n"
        return head, partial(_table_line, width=width, positive=classes[1], colour=colour)
    if format == "csv":
        return "path,label,probability,error\n", _csv_line
    return "", _json_line if format == "jsonl" else _tsv_line


def _table_line(record: Record, width: int, positive: str, colour: bool) -> str:
    if record.error is not None:
        return ""
    label = f"{printable(record.label):<{width}}"
    if colour:
        label = f"\x1b[{'1;32' if record.label == positive else '2'}m{label}\x1b[0m"
    gap = " " * max(0, len(printable(positive)) + 3 - 8)
    return f"{label}  {100 * record.probability:6.2f} %{gap}   {record.shown}\n"


def _tsv_line(record: Record) -> str:
    if record.error is not None:
        return ""
    return f"{_escaped(record.path)}\t{_escaped(record.label)}\t{record.probability!r}\n"


def _csv_line(record: Record) -> str:
    row = [record.path, record.label, repr(record.probability), ""]
    if record.error is not None:
        row = [record.path, "", "", record.error]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _json_line(record: Record) -> str:
    if record.error is not None:
        fields: dict[str, object] = {
            "path": record.path,
            "error": record.kind,
            "message": record.error,
        }
    else:
        fields = {
            "path": record.path,
            "label": record.label,
            "probability": record.probability,
            "z": record.z,
        }
    return json.dumps(fields, allow_nan=False) + "\n"


def _escaped(text: str) -> str:
    """Backslash, tab and line ends as two characters, so that a record stays one line of fields."""
    for raw, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(raw, escape)
    return text
