"""The records of ``catclf predict``, and the files that they are written to.

A ``Form`` says how records are written: as a table, tsv, csv, jsonl, Parquet, or bare paths. Each
output is whole or not there, and its failures are counted. In a folder the name of an output is a
function of its argument, and one that is complete is never made again, so that a run that was
stopped at any moment, or one job of many, goes on where it was. An output whose argument could not
be read, or not to its end, has a mark beside it: the next run makes it again.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from catclf.cli.shell import as_options, json_line, results, unicode_fields, warn
from catclf.errors import InputError, OutputError, SettingsError
from catclf.images.tree import LeftOut
from catclf.storage.location import expanded, is_pattern, is_remote, locate
from catclf.text import counted, printable, reason, url_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from catclf.model import Model, Training
    from catclf.model.predict import Prediction

FORMATS = ("table", "tsv", "csv", "jsonl", "parquet")
# Endings of a file that say how it is written.
ENDINGS = {f".{format}": format for format in FORMATS[1:]} | {".ndjson": "jsonl"}
FAILED = ".failed"  # after the name of an output
UNSURE = (0.2, 0.8)  # probabilities between which an image is unsure, where the threshold is 0.5
Line = Callable[["Prediction"], bytes]
Shard = tuple[list[str], Path | None]  # arguments, and the file of their records or None for stdout
_JOB = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})")
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def format_of(output: Path | None, format: str | None) -> str | None:
    """The format that the ending of a file says. Raises SettingsError where it says another."""
    said = None if output is None else ENDINGS.get(locate(output).suffix)
    if said and format and said != format:
        assert output is not None
        raise SettingsError(f"{printable(output)}: its ending says {said}, and --format {format}")
    return format or said


class Form(NamedTuple):
    """How records are written: what is before them, the bytes of each, and what is after them."""

    head: bytes
    line: Line
    tail: Callable[[], bytes] = bytes


NOTHING = Form(b"", lambda record: b"")


def form_of(
    format: str,
    models: Mapping[str, Model],
    *,
    colour: bool = False,
    encoding: str = "utf-8",
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
    from catclf.storage.parquet import ParquetRows

    prints = " ".join(model.fingerprint for model in models.values())
    facts = {"model": prints, "classes": list(first.classes)}
    columns = kinds | {"path_base64": "text", "label_base64": "text"}
    rows = ParquetRows(columns, {"catclf": json_line(facts).strip()})

    def row(record: Prediction) -> bytes:
        made: dict[str, Any] = unicode_fields(fields(record))
        return rows.add([made.get(name) for name in columns])

    return Form(b"", row, rows.end)


def paths_form(label: str | None, end: bytes) -> Form:
    """Bare paths, as their bytes, of images with this label; of all that are scored without."""

    def line(record: Prediction) -> bytes:
        if record.error is not None or (label is not None and record.label != label):
            return b""
        return os.fsencode(record.path) + end

    return Form(b"", line)


def pair_of(option: str, text: str | None) -> tuple[float, float] | None:
    """Two probabilities LOW,HIGH. Raises SettingsError."""
    if text is None:
        return None
    with suppress(ValueError):
        low, high = map(float, text.split(","))
        if 0.0 < low < high < 1.0:
            return low, high
    raise SettingsError(
        f"--{option} {printable(text)}: give two probabilities, the lower first: 0.2,0.8"
    )


def unsure_of(
    model: Model, threshold: float | None, between: tuple[float, float]
) -> Callable[[Prediction], bool]:
    """A function that says of a record whether it is unsure.

    The probabilities ``between`` are meant around the threshold 0.5; another one shifts them in log
    odds, so that an image is as unsure as it is near the decision.
    """
    from catclf.maths import logit  # loads NumPy, while other processes get ready

    boundary = model.boundary if threshold is None else logit(threshold)
    low, high = (boundary + logit(each) for each in between)
    return lambda record: low < record.z < high


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
    return _bytes(f"{path}\t{label}\t{probability}\n")


def _csv(fields: Callable[[Prediction], dict[str, Any]], columns: list[str]) -> Form:
    """Lines quoted as RFC 4180 says, which end with a newline alone; errors are their messages."""
    # The module quotes only the line ends that are in its own: so both, and CR is cut off again.
    rows = csv.writer(SimpleNamespace(write=lambda text: text), lineterminator="\r\n")

    def written(cells: list[str]) -> bytes:
        text: Any = rows.writerow(cells)  # what ``write`` returns
        return _bytes(text[:-2] + "\n")

    def line(record: Prediction) -> bytes:
        made = fields(record) | {"error": record.error or ""}
        texts = (made.get(name, "") for name in columns)
        return written([each if isinstance(each, str) else json.dumps(each) for each in texts])

    return Form(written(columns), line)


def _bytes(line: str) -> bytes:
    """Text with its paths as the bytes that they are."""
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair of surrogates, which no path can hold
        return line.encode("utf-8", "backslashreplace")


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


# Outputs


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

    def add(self, others: Tally) -> None:
        """Count the records of others, too."""
        for name, count in vars(others).items():
            if isinstance(count, LeftOut):
                self.left_out.update(count)
            else:
                setattr(self, name, getattr(self, name) + count)

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


@dataclass
class Outputs:
    """The outputs of shards, one after the other; each file appears when its shard is done.

    ``say`` names failures, ``model`` is no output's place, ``kept`` is that of ``files.replacing``,
    and with ``marked`` incomplete outputs get their mark.
    """

    shards: deque[Shard]
    model: Path
    tally: Tally
    pause: AbstractContextManager[None]
    say: Callable[[str], object] = warn
    kept: bool = True
    marked: bool = False
    form: Form = NOTHING
    unsure: Callable[[Prediction], bool] = lambda record: False
    only_unsure: bool = False
    _stack: ExitStack = field(default_factory=ExitStack)
    _unread: list[str] = field(default_factory=list)  # failures of arguments, of this output

    def __enter__(self) -> Outputs:
        self._open()
        return self

    def __exit__(self, *failure: Any) -> bool | None:
        return self._stack.__exit__(*failure)

    def begin(
        self, form: Form, unsure: Callable[[Prediction], bool], only_unsure: bool = False
    ) -> None:
        """Say how records are written, and which of them are unsure."""
        self.form, self.unsure, self.only_unsure = form, unsure, only_unsure
        self._write(form.head)

    def write(self, records: list[Prediction], ends: deque[int]) -> None:
        """Write records; ``ends`` are the numbers of records up to the ends of shards."""
        while records:
            while ends and ends[0] == self.tally.done:
                ends.popleft()
                self.end()
            stop = ends[0] - self.tally.done if ends else len(records)
            self._write(b"".join(map(self._line, records[:stop])))
            self.tally.done += len(records[:stop])
            records = records[stop:]

    def _line(self, record: Prediction) -> bytes:
        """A record's bytes; it is counted, and its failure is named."""
        unsure = False
        if record.error is not None:
            self.tally.failed += 1
            said = f"{printable(record.path, 200)}: {record.error}"
            self.say(said)
            if record.path in self._arguments:
                self.tally.incomplete += not self._unread
                self._unread.append(said)
        else:
            unsure = self.unsure(record)
            self.tally.positive += record.positive
            self.tally.unlike += record.unlike is True
            self.tally.unsure += unsure
        return b"" if self.only_unsure and not unsure else self.form.line(record)

    def end(self) -> None:
        """Finish the output of a shard, and open the next one's."""
        self._write(self.form.tail())
        with self.pause:
            pass  # the last moment at which a signal leaves the old output
        _, output = self.shards.popleft()
        mark = output.with_name(output.name + FAILED) if output and self.marked else None
        if mark and self._unread:
            with results(mark, (), kept=False) as write:  # before the output is there
                write("".join(f"{line}\n" for line in self._unread).encode())
        self._stack.close()
        if mark and not self._unread:
            with suppress(OSError):  # who may write need not be allowed to remove
                locate(mark).remove()
        if self.shards:
            self._open()
            self._write(self.form.head)

    def finish(self) -> None:
        """Finish the last output, and those of shards after it, which hold no inputs."""
        while self.shards:
            self.end()

    def _open(self) -> None:
        paths, output = self.shards[0]
        self._unread, self._arguments = [], {url_of(each) for each in paths}
        files = (Path(path.removeprefix("@")) for path in paths if path not in ("-", "@", ""))
        self._write = self._stack.enter_context(
            results(output, [self.model, *files], kept=self.kept)
        )


# Outputs in a folder


def named(arguments: Sequence[str]) -> list[str]:
    """The arguments with patterns as the names that they stand for. Raises InputError."""
    try:
        return expanded(arguments)
    except OSError as error:
        raise InputError(
            f"{printable(error.filename)}: cannot be listed: {reason(error)}"
        ) from error


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

    A line on stderr counts the others, unless ``quiet``. Raises SettingsError for arguments that
    would have the same output, InputError for patterns without files, and OutputError where the
    folder cannot be made.
    """
    k, n = job_of(job) if job is not None else (1, 1)
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
    taken = list(outputs.items())[k - 1 :: n]
    there = _complete(folder)
    kept = sum(name in there for name, _ in taken)
    if kept and not quiet:
        warn(
            f"{printable(folder)}: {counted(kept, 'output')} of {len(taken)} are there and stay: "
            "remove those that are to be made again"
        )
    return [([each], folder / name) for name, each in taken if name not in there]


def _complete(folder: Path) -> set[str]:
    """The names of complete outputs in a folder, which is made if it is on disk."""
    try:
        if not is_remote(folder):
            folder.mkdir(parents=True, exist_ok=True)
        there = set(locate(folder).names())
    except OSError as error:
        raise OutputError(
            f"{printable(folder)}: is no folder and cannot be made one: {error.strerror}"
        ) from error
    return {name for name in there if name + FAILED not in there}
