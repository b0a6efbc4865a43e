"""``catclf sort``: images into a folder for each class, where nothing is ever overwritten."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catclf.cli.options import OUTPUT, ModelPath, Options, Quiet, Threshold, option, optional
from catclf.cli.predict import Scoring, between
from catclf.cli.shell import ExitCode, pausing, put, warn
from catclf.errors import ImageError, OutputError, SettingsError
from catclf.storage.local import UNPACK
from catclf.storage.location import discard, free_name, is_remote
from catclf.text import counted, printable, reason

if TYPE_CHECKING:
    from catclf.images.inputs import Input

UNSURE_FOLDER = "unsure"
DONE = {"copy": "copied", "move": "moved", "link": "linked"}


_option = partial(optional, group=OUTPUT)
HOW = {
    "copy": _option(bool, "--copy", help="Copy the images. This is the default."),
    "move": _option(bool, "--move", help="Move the images."),
    "link": _option(bool, "--link", help="Link to the images."),
    "unsure": _option(
        str,
        help="Put images between these probabilities in a folder unsure; they are meant around the "
        "threshold 0.5 and move with it.",
        metavar="LOW,HIGH",
        check=partial(between, "unsure"),
    ),
    "threshold": Threshold,
}


def sort(
    *,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Folders of images, with the folders in them, and images."
        ),
    ],
    output: Annotated[
        Path,
        option("--output", "-o", help="The folder of the folders.", metavar="FOLDER", group=OUTPUT),
    ],
    model: ModelPath = Path("model.npz"),
    how: Annotated[Options, HOW],
    quiet: Quiet = False,
) -> None:
    """Sort images into a folder for each class: copied, moved or linked, nothing overwritten.

    An image keeps its name and its folders below the source. Where another file has its name it is
    called name-2, name-3, …; where it is there already it stays, so that a run that was stopped
    goes on. Images that cannot be read stay where they are, and the exit code is 3.

    Example: catclf sort photos -o sorted --unsure 0.2,0.8
    """
    ways, unsure = [way for way in DONE if how[way]] or ["copy"], how["unsure"]
    if len(ways) > 1:
        raise SettingsError("--copy, --move and --link exclude each other: give one of them")
    for path in (*sources, str(output)):
        if is_remote(path):
            raise SettingsError(f"{printable(path)}: images are sorted on disk: copy them there")
    scoring = Scoring((model,), threshold=how["threshold"], between=unsure)
    done, there, failed, roots = Counter[str](), 0, 0, deque[str]()
    with pausing() as pause:
        [trained] = models = scoring.load()
        inputs, is_unsure = _inputs(sources, output, roots), scoring.unsure(trained)
        with closing(scoring.predictions(inputs, models, pause)) as batches:
            for record in chain.from_iterable(batches):
                root = roots.popleft()
                if record.error is not None:
                    warn(f"{printable(record.path, 200)}: {record.error}")
                    failed += 1
                    continue
                label = UNSURE_FOLDER if unsure and is_unsure(record) else record.label
                image, folder = Path(record.path), output / _folder_name(label)
                # The name of an image below its source, or its own where that is the source.
                name = os.path.relpath(image, root) if record.path != root else image.name
                new = _place(image, folder / name, ways[0])
                done[label] += new
                there += not new
    if not quiet:
        for label in (*trained.classes, *([UNSURE_FOLDER] if unsure else [])):
            shown = printable(output / _folder_name(label))
            put(f"{shown}: {counted(done[label], 'image')} {DONE[ways[0]]}\n")
        if there:
            put(f"{counted(there, 'image')} {'was' if there == 1 else 'were'} there already\n")
    if failed:
        raise typer.Exit(ExitCode.PARTIAL)


def _inputs(sources: list[str], output: Path, roots: deque[str]) -> Iterator[Input]:
    """The images of the sources but for those in ``output``; ``roots`` gets the source of each."""
    from catclf.images.archive import Member
    from catclf.images.inputs import read_inputs

    inside = os.path.realpath(output) + os.sep
    for source in sources:
        for each in read_inputs([source], recursive=True, lists=False):
            name = each if isinstance(each, str) else each[0]
            if not os.path.realpath(name).startswith(inside):
                roots.append(source)
                in_archive = ImageError("unsupported", f"is in an archive: {UNPACK}")
                yield (name, in_archive) if isinstance(each, Member) else each


def _folder_name(label: str) -> str:
    """The folder of a class, whose name may be no file's."""
    name = label.replace("/", "_").replace("\0", "_")
    return f"_{name}" if name in ("", ".", "..") else name


def _place(path: Path, target: Path, way: str) -> bool:
    """Put an image at a free name; False where it is there already. Raises OutputError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        name = _free_name(path, target)
        if name is None:
            return False
        try:
            _put(path, name, way)
        except BaseException:
            discard(name)
            raise
    except OSError as error:
        raise OutputError(f"{printable(target)}: cannot be written: {reason(error)}") from error
    return True


def _free_name(path: Path, target: Path) -> Path | None:
    """``target``, or target-2, -3, … as an empty file; None where the image is there already."""
    number = 0
    while True:
        number += 1
        name = target.with_stem(f"{target.stem}-{number}") if number > 1 else target
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            # An empty file is the place that a run had taken which was stopped.
            if not name.is_file() or name.stat().st_size:
                if name.samefile(path) or (name.is_file() and filecmp.cmp(path, name, False)):
                    return None
                continue
        return name


def _put(path: Path, name: Path, way: str) -> None:
    """Copy, move or link an image to the place of an empty file.

    A link is moved as what it leads to, for it may hold from its own folder alone.
    """
    as_link = way == "link" or (way == "move" and path.is_symlink())
    if way == "move" and not as_link:
        try:
            path.replace(name)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    new = name.parent / free_name()
    try:
        if as_link:
            _link(path, new)
        else:
            shutil.copy2(path, new)
        new.replace(name)
    finally:
        discard(new)
    if way == "move":
        path.unlink()


def _link(path: Path, new: Path) -> None:
    """A second name of a file, or a symbolic link where the file system has none of these."""
    file = path.resolve()
    try:
        os.link(file, new)
    except OSError:
        new.symlink_to(file)
