"""Records of ``catclf predict``: how they are written and counted, and the files they go to.

A ``Form`` writes records as a table, tsv, csv, jsonl, Parquet, or bare paths. In a folder the name
of an output is a function of its argument, and one that is complete is never made again, so that a
run that was stopped at any moment, or one job of many, goes on where it was. An output whose
argument could not be read, or not to its end, has a mark beside it: the next run makes it again.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from catclf.cli.shell import json_line, raw_bytes, unicode_fields, warn
from catclf.errors import InputError, OutputError, SettingsError
from catclf.images.tree import LeftOut
from catclf.storage.location import expanded, is_pattern, is_remote, locate
from catclf.text import counted, printable, reason

if TYPE_CHECKING:
    from catclf.model import Model, Training
    from catclf.model.predict import Prediction

FORMATS = ("table", "tsv", "csv", "jsonl", "parquet")
# Endings of a file that say how it is written.
ENDINGS = {f".{format}": format for format in FORMATS[1:]} | {".ndjson": "jsonl"}
FAILED = ".failed"  # after the name of an output
Line = Callable[["Prediction"], bytes]
Fields = Callable[["Prediction"], dict[str, Any]]
Shard = tuple[list[str], Path | None]  # arguments, and the file of their records or None for stdout
_JOB = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})")
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_QUOTED = re.compile('[",\r\n]')


def format_of(output: Path | None, format: str | None) -> str | None:
    """The format that the ending of a file says. Raises SettingsError where it says another."""
    said = None if output is None else ENDINGS.get(locate(output).suffix)
    if output and said and format and said != format:
        raise SettingsError(f"{printable(output)}: its ending says {said}, and --format {format}")
    return format or said


class Form(NamedTuple):
    """How records are written: what is before them, the bytes of each, and what is after them."""

    head: bytes
    line: Line
    tail: Callable[[], bytes] = bytes


def form_of(
    format: str, models: Mapping[str, Model], *, colour: bool = False, encoding: str = "utf-8"
) -> Form:
    """The form of a format for models by their names.

    Probabilities have as many digits as it takes to read the same float64 back, so that any
    decision can be reproduced from the output. Paths are written as the bytes that they are; only
    the table shows them as text of this ``encoding``. Raises SettingsError where Parquet needs
    pyarrow.
    """
    first, *others = models.values()
    if format == "table":
        return _table(first.classes, colour, encoding)
    if format == "tsv":
        return Form(b"", _tsv_line)
    scores = {"label": "text", "probability": "number", "z": "number", "model": "text"}
    if others:
        scores = {f"probability_{name}": "number" for name in models}
    elif first.similarity:
        scores |= {"similarity": "number", "unlike": "flag"}
    kinds = {"path": "text", **scores, "error": "text", "message": "text"}
    fingerprint = "" if others or format == "csv" else first.fingerprint

    def fields(record: Prediction) -> dict[str, Any]:
        made: dict[str, Any] = {"path": str(record.path)}
        if record.error is not None:
            return made | {"error": record.kind, "message": record.error}
        values = [record.label, record.probability, record.z, fingerprint]
        values += [record.similarity, record.unlike]
        if others:
            values = [record.probability, *record.others]
        return made | dict(zip(scores, values, strict=False))

    if format == "csv":
        return _csv(fields, [name for name in kinds if name not in ("z", "model", "message")])
    if format == "jsonl":
        return Form(b"", lambda record: json_line(fields(record)).encode("ascii"))
    prints = " ".join(model.fingerprint for model in models.values())
    return _parquet(fields, kinds, {"model": prints, "classes": list(first.classes)})


def paths_form(label: str | None, end: bytes) -> Form:
    """Bare paths, as their bytes, of images with this label; of all that are scored without."""

    def line(record: Prediction) -> bytes:
        if record.error is not None or (label is not None and record.label != label):
            return b""
        return os.fsencode(record.path) + end

    return Form(b"", line)


def _table(classes: tuple[str, str], colour: bool, encoding: str) -> Form:
    width = max(5, *(len(printable(name)) for name in classes))
    column = max(8, len(printable(classes[1])) + 3)

    def line(record: Prediction) -> bytes:
        label = f"{printable(record.label) or '-':<{width}}"
        percent = "-" if record.error is not None else f"{100 * record.probability:.2f} %"
        if colour:
            label = f"\x1b[{'1;32' if record.positive else '2'}m{label}\x1b[0m"
        text = f"{label}  {percent:>8}{'':{column - 8}}   {printable(record.path)}"
        text += "  unlike the training images\n" if record.unlike else "\n"
        return text.encode(encoding, "backslashreplace")

    head = f"{'label':<{width}}  P({printable(classes[1])})   path\n"
    return Form(head.encode(encoding, "backslashreplace"), line)


def _tsv_line(record: Prediction) -> bytes:
    """Three fields. The last two are empty where the image failed, so that no script that asks
    for a class or a number finds one, and the lines still match the inputs one to one."""
    path, label = record.path.translate(_ESCAPES), record.label.translate(_ESCAPES)
    probability = "" if record.error is not None else repr(record.probability)
    return raw_bytes(f"{path}\t{label}\t{probability}\n")


def _csv(fields: Fields, columns: list[str]) -> Form:
    """Lines quoted as RFC 4180 says, which end with a newline alone; errors are their messages."""

    def written(cells: list[str]) -> bytes:
        quoted = (
            '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell for cell in cells
        )
        return raw_bytes(",".join(quoted) + "\n")

    def line(record: Prediction) -> bytes:
        made = fields(record) | {"error": record.error or ""}
        values = (made.get(name, "") for name in columns)
        return written([each if isinstance(each, str) else json.dumps(each) for each in values])

    return Form(written(columns), line)


def _parquet(fields: Fields, kinds: dict[str, str], facts: dict[str, Any]) -> Form:
    """Rows with the fields of jsonl as typed columns; the facts are kept in the file."""
    from catclf.storage.parquet import ParquetRows

    columns = kinds | {"path_base64": "text", "label_base64": "text"}
    rows = ParquetRows(columns, {"catclf": json_line(facts).strip()})

    def row(record: Prediction) -> bytes:
        made: dict[str, Any] = unicode_fields(fields(record))
        return rows.add([made.get(name) for name in columns])

    return Form(b"", row, rows.end)


@dataclass
class Tally:
    """The records written so far, counted for the exit code and the last lines."""

    done: int = 0
    failed: int = 0
    positive: int = 0
    unsure: int = 0
    unlike: int = 0  # the training images
    incomplete: int = 0  # arguments that could not be read, or not to their end
    left_out: LeftOut = field(default_factory=LeftOut)

    def count(self, record: Prediction, unsure: bool) -> None:
        """Count one record."""
        self.done += 1
        self.failed += record.error is not None
        self.positive += record.positive
        self.unlike += record.unlike is True
        self.unsure += unsure

    def add(self, others: Tally) -> None:
        """Count the records of others, too."""
        self.left_out.update(others.left_out)
        for name in ("done", "failed", "positive", "unsure", "unlike", "incomplete"):
            setattr(self, name, getattr(self, name) + getattr(others, name))

    @property
    def negative(self) -> int:
        return self.done - self.failed - self.positive

    def line(self, classes: tuple[str, str], between: tuple[float, float]) -> str:
        """What became of all images, in one line."""
        low, high = (f"{100 * each:.3g}" for each in between)
        return (
            f"{counted(self.done, 'image')}: {self.positive} {printable(classes[1])}, "
            f"{self.negative} {printable(classes[0])}, {self.unsure} between {low} and {high} %, "
            f"{self.failed} failed"
        )

    def news(self, trained: Training) -> str:
        """What differs from training beyond chance, as a line; no text where nothing does.

        The fraction of positives differs where it is more than three standard deviations, of both
        samples, away from that of the training images.
        """
        scored, images = self.done - self.failed, trained.images
        news = []
        if self.unlike:
            are = "is" if self.unlike == 1 else "are"
            of = f"{self.unlike} of {counted(scored, 'image')}"
            news.append(f"{of} {are} unlike the training images")
        if scored and images:
            q, p = trained.positives / images, self.positive / scored
            if abs(p - q) > 3.0 * math.sqrt(q * (1.0 - q) * (1.0 / scored + 1.0 / images)):
                news.append(f"positive {100 * p:.3g} % ({100 * q:.3g} % in training)")
        return f"{', '.join(news)}: see catclf help features" if news else ""


def named(arguments: Sequence[str]) -> list[str]:
    """The arguments with patterns as the names that they stand for. Raises InputError."""
    try:
        return expanded(arguments)
    except OSError as error:
        shown = printable(error.filename)
        raise InputError(f"{shown}: cannot be listed: {reason(error)}") from error


def job_of(text: str) -> tuple[int, int]:
    """K and N of "K/N". Raises SettingsError unless 1 <= K <= N."""
    match = _JOB.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise SettingsError(f"--part {printable(text)}: give K/N with 1 <= K <= N, such as 3/10")
    return int(match[1]), int(match[2])


def pending(
    arguments: Sequence[str], folder: Path, ending: str, job: str | None, quiet: bool = True
) -> list[Shard]:
    """Each argument of a job K/N whose output is not complete, with the name of its output.

    The folder is made if it is on disk. A line on stderr counts the other outputs, unless
    ``quiet``. Raises SettingsError for arguments that would have the same output, InputError for
    patterns without files, and OutputError where the folder cannot be made.
    """
    k, n = job_of(job or "1/1")
    outputs: dict[str, str] = {}
    for argument in arguments:
        shown = printable(argument)
        if is_pattern(argument):
            raise InputError(f"{shown}: there is no file of such a name")
        name = locate(argument.removeprefix("@")).name
        if argument in ("", "-", "@") or not name:
            raise SettingsError(f"{shown!r} has no name for an output in --output-dir")
        other = outputs.setdefault(name + ending, argument)
        if other is not argument:
            raise SettingsError(
                f"{printable(other)} and {shown} would both be written to "
                f"{printable(folder / name)}{ending}: give them in two runs, to two folders"
            )
    try:
        if not is_remote(folder):
            folder.mkdir(parents=True, exist_ok=True)
        there = set(locate(folder).names())
    except OSError as error:
        why = f"is no folder and cannot be made one: {error.strerror}"
        raise OutputError(f"{printable(folder)}: {why}") from error
    taken = list(outputs.items())[k - 1 :: n]
    missing = [each for each in taken if each[0] not in there or each[0] + FAILED in there]
    if (kept := len(taken) - len(missing)) and not quiet:
        warn(
            f"{printable(folder)}: {counted(kept, 'output')} of {len(taken)} are there and stay: "
            "remove those that are to be made again"
        )
    return [([argument], folder / name) for name, argument in missing]
