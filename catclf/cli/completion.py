"""Values that the shell completes: models, class names, columns of tables, topics.

A completion is a hint: whatever goes wrong, there is none, and nothing is printed. It is read from
the start of a file, without NumPy, so that it is there at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from itertools import permutations
from pathlib import Path

import typer

MODEL, MODEL_VARIABLE = "model.npz", "CATCLF_MODEL"
MODEL_BYTES, META_CHARACTERS = 64 * 1024 * 1024, 1024 * 1024  # the limits of the model file
ENTRIES_MAX = 5000  # of a folder that are looked at
DEPTH_MAX = 8  # folders with nothing but one folder that are gone through
TABLE_START = 65536  # bytes of a table that are looked at
VALUES_MAX = 200
SOURCES = ("data", "source", "sources", "test")  # parameters that may be a table
_UNSAFE = re.compile(r"([^\w@%+=:,./~-])")  # what bash takes for more than a letter

Complete = Callable[[typer.Context, str], list[str]]


def usual_model() -> str:
    """The model that is meant where none is named."""
    return os.environ.get(MODEL_VARIABLE) or MODEL


def hint(values: Callable[[typer.Context, str], Iterable[str]]) -> Complete:
    """Completions that begin with what is typed, as the shell takes them; none after a failure."""

    @wraps(values)
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        found = []
        try:
            for value in values(ctx, incomplete):
                if value.startswith(incomplete) and value.isprintable():
                    found.append(_as_typed(value))
                if len(found) == VALUES_MAX:
                    break
        except Exception:  # a file may hold anything at all
            return []
        return found

    return complete


class _Escaped(str):
    """A value as bash inserts it. Typer asks whether it begins with what is typed: it does."""

    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        return True


def _as_typed(value: str) -> str:
    """A value as the shell takes it; others than bash quote it themselves."""
    if os.environ.get("_CATCLF_COMPLETE") == "complete_bash":
        return _Escaped(_UNSAFE.sub(r"\\\1", value))
    return value


@hint
def complete_model(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Model files, and folders; a folder alone is gone into, for its name is no answer."""
    for _ in range(DEPTH_MAX):
        found = sorted(_models(incomplete))
        if len(found) != 1 or not found[0].endswith("/"):
            break
        incomplete = found[0]
    # Folders alone are left to the shell, which goes on after them.
    if any(not name.endswith("/") for name in found):
        yield from found


def _models(incomplete: str) -> Iterator[str]:
    """Files and folders that begin with what is typed; a folder ends in a slash."""
    folder, slash, start = incomplete.rpartition("/")
    # Entries of a folder are few, or the rest is not looked at.
    with os.scandir(Path(folder + slash or ".").expanduser()) as entries:
        for _, entry in zip(range(ENTRIES_MAX), entries, strict=False):
            if not entry.name.startswith(start) or (entry.name.startswith(".") and not start):
                continue
            if entry.name.endswith(".npz") and entry.is_file():
                yield folder + slash + entry.name
            elif entry.is_dir():
                yield f"{folder}{slash}{entry.name}/"


@hint
def complete_class(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """The two classes of the model that the command is given."""
    import json

    from catclf.storage.npz import read_text

    given = ctx.params.get("model") or usual_model()
    given = given[0] if isinstance(given, list | tuple) else given
    path = Path(given).expanduser()
    classes = json.loads(read_text(path, "meta", MODEL_BYTES, META_CHARACTERS))["classes"]
    yield from (name for name in classes if isinstance(name, str))


@hint
def complete_columns(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Pairs of columns of the table that the command is given."""
    names = [name for name in _header(_table(ctx)) if name and "," not in name]
    for pair in permutations(names, 2):
        yield ",".join(pair)


def _table(ctx: typer.Context) -> Path:
    """The first source that is a regular file. Raises LookupError."""
    # Arguments before an option that has no value yet are left in args.
    for value in [*map(ctx.params.get, SOURCES), ctx.args]:
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is not None and Path(each).expanduser().is_file():  # never a pipe
                return Path(each).expanduser()
    raise LookupError


def _header(path: Path) -> list[str]:
    """The names in the first line of a table."""
    import csv

    with path.open("rb") as file:
        start = file.read(TABLE_START)
    wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = start.decode("utf-16" if wide else "utf-8-sig", "ignore" if wide else "strict")
    first, _, rest = text.partition("\n")
    if stated := re.fullmatch(r"sep=(.)\r?", first):
        separator, first = stated[1], rest.partition("\n")[0]
    else:
        separator = max(",;\t|", key=first.count)
    return [name.strip() for name in next(csv.reader([first.rstrip("\r")], delimiter=separator))]
