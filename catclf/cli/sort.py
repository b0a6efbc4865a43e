"""``catclf sort``: images into a folder for each class, where nothing is ever overwritten."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catclf.cli import loaded
from catclf.cli.options import OUTPUT, ModelPath, Quiet, Threshold, option
from catclf.cli.predict.outputs import explained, pair_of, unsure_of
from catclf.cli.shell import ExitCode, Signals, put, warn
from catclf.errors import ImageError, OutputError, SettingsError
from catclf.storage.local import UNPACK
from catclf.storage.location import discard, free_name, is_remote
from catclf.text import counted, printable, reason

if TYPE_CHECKING:
    from catclf.model import Model

UNSURE_FOLDER = "unsure"


def sort(
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
    copy: Annotated[
        bool, option("--copy", help="Copy the images. This is the default.", group=OUTPUT)
    ] = False,
    move: Annotated[bool, option("--move", help="Move the images.", group=OUTPUT)] = False,
    link: Annotated[bool, option("--link", help="Link to the images.", group=OUTPUT)] = False,
    unsure: Annotated[
        str | None,
        option(
            metavar="LOW,HIGH",
            help="Put images between these probabilities in a folder unsure; they are meant "
            "around the threshold 0.5 and move with it.",
            group=OUTPUT,
        ),
    ] = None,
    threshold: Threshold = None,
    quiet: Quiet = False,
) -> None:
    """Sort images into a folder for each class: copied, moved or linked, nothing overwritten.

    An image keeps its name and its folders below the source. Where another file has its name it is
    called name-2, name-3, …; where it is there already it stays, so that a run that was stopped
    goes on. Images that cannot be read stay where they are, and the exit code is 3.

    Example: catclf sort photos -o sorted --unsure 0.2,0.8
    """
    if copy + move + link > 1:
        raise SettingsError("--copy, --move and --link exclude each other: give one of them")
    between = pair_of("unsure", unsure)
    for path in (*sources, str(output)):
        if is_remote(path):
            raise SettingsError(f"{printable(path)}: images are sorted on disk: copy them there")
    put_there = _move if move else partial(_copy, make=_link) if link else _copy
    done, there, failed = Counter[str](), 0, 0
    with Signals() as signals:
        trained = _loaded(model)
        sure = unsure_of(trained, threshold, between) if between else None
        with closing(_records(sources, output, model, trained, threshold, signals)) as found:
            for root, record in found:
                if record.error is not None:
                    warn(f"{printable(record.path, 200)}: {explained(record)}")
                    failed += 1
                    continue
                label = UNSURE_FOLDER if sure and sure(record) else record.label
                image, folder = Path(record.path), output / _folder_name(label)
                # The name of an image below its source, or its own where that is the source.
                name = os.path.relpath(image, root) if record.path != root else image.name
                new = _place(image, folder / name, put_there)
                done[label] += new
                there += not new
    if not quiet:
        how = "moved" if move else "linked" if link else "copied"
        for label in (*trained.classes, *([UNSURE_FOLDER] if between else [])):
            shown = printable(output / _folder_name(label))
            put(f"{shown}: {counted(done[label], 'image')} {how}\n")
        if there:
            put(f"{counted(there, 'image')} {'was' if there == 1 else 'were'} there already\n")
    if failed:
        raise typer.Exit(ExitCode.PARTIAL)


def _loaded(path: Path) -> Model:
    from catclf.model.file import load

    model = load(path)
    loaded()
    return model


def _records(
    sources: list[str],
    output: Path,
    path: Path,
    model: Model,
    threshold: float | None,
    signals: Signals,
) -> Any:
    """Each source and a prediction of an image in it; images in ``output`` are left out."""
    from catclf.images.archive import Member
    from catclf.images.inputs import read_inputs
    from catclf.images.pool import decode_batches
    from catclf.model.file import naming
    from catclf.model.predict import predict_batches

    roots: list[str] = []
    inside = os.path.realpath(output) + os.sep

    def inputs() -> Iterator[Any]:
        for source in sources:
            for each in read_inputs([source], recursive=True, lists=False):
                name = each if isinstance(each, str) else each[0]
                if isinstance(each, Member):
                    each = name, ImageError("unsupported", f"is in an archive: {UNPACK}")
                if not os.path.realpath(name).startswith(inside):
                    roots.append(source)
                    yield each

    decoded = decode_batches(inputs(), model.preprocess, pause=signals.pause)
    with naming(path), closing(predict_batches(decoded, model, threshold)) as batches:
        number = 0
        for batch in batches:
            for record in batch:
                yield roots[number], record
                number += 1


def _folder_name(label: str) -> str:
    """The folder of a class, whose name may be no file's."""
    name = label.replace("/", "_").replace("\0", "_")
    return f"_{name}" if name in ("", ".", "..") else name


def _place(path: Path, target: Path, put_there: Callable[[Path, Path], object]) -> bool:
    """Put an image at a free name; False where it is there already. Raises OutputError."""
    number = 1
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            name = target.with_stem(f"{target.stem}-{number}") if number > 1 else target
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                break
            except FileExistsError:
                # An empty file is the place that a run had taken which was stopped.
                if name.is_file() and not name.stat().st_size:
                    break
                if name.samefile(path) or (name.is_file() and filecmp.cmp(path, name, False)):
                    return False
            number += 1
        try:
            put_there(path, name)
        except BaseException:
            discard(name)
            raise
    except OSError as error:
        raise OutputError(f"{printable(target)}: cannot be written: {reason(error)}") from error
    return True


def _copy(path: Path, name: Path, make: Callable[[Path, Path], object] = shutil.copy2) -> None:
    """Put what ``make`` makes of an image in the place of an empty file."""
    new = name.parent / free_name()
    try:
        make(path, new)
        new.replace(name)
    finally:
        discard(new)


def _move(path: Path, name: Path) -> None:
    if path.is_symlink():  # which may hold from its own folder alone
        _copy(path, name, _link)
        path.unlink()
        return
    try:
        path.replace(name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(path, name)
        path.unlink()


def _link(path: Path, new: Path) -> None:
    """A second name of a file, or a symbolic link where the file system has none of these."""
    file = path.resolve()
    try:
        os.link(file, new)
    except OSError:
        new.symlink_to(file)
