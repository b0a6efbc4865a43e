"""Inputs of a command: files, folders, and lists of names, one after the other.

Names are bytes to the system; here they are text that keeps every byte (``os.fsdecode``). A list
is read as it arrives, and no more of it is held than one name and one block.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from catclf.errors import ImageError, InputError
from catclf.images.formats import ENDINGS, is_image
from catclf.text import printable, reason

# Phones write HEIC. It is not read here, but a folder that holds some should not hide them.
ENDINGS_SEEN = ENDINGS | {".heic", ".heif"}
NAME_LIMIT = 65536  # bytes; the system takes 4096
_BLOCK = 65536

Input = str | tuple[str, ImageError]
_NAMELESS: Input = "", ImageError("missing", "its name is empty: is a variable not set?")


def read_inputs(
    arguments: Sequence[str], *, null: bool = False, recursive: bool = False
) -> Iterable[Input]:
    """Each image's path, or a path with the reason why there is no image, in order.

    An argument is a file, a folder (its images by name, with ``recursive`` those of its folders
    too), ``-`` (a list of names on stdin), ``@name`` (a list in a file) or ``@@name`` (the file
    ``@name``). A list holds names of files and folders, nothing else; lines end with a newline (or
    CR and newline), or with NUL if ``null``; empty ones are left out. The result is a sequence
    where it is as long as the arguments, so that its length is known. Raises InputError where no
    list can be read.
    """
    lists = [argument for argument in arguments if _is_list(argument)]
    if len(arguments) == 1 and lists:
        _require_readable(lists[0])
    if lists.count("-") > 1:
        raise InputError("- is given twice: standard input can be read once")
    if len(arguments) < 1000 and not lists and not any(map(os.path.isdir, arguments)):
        return [_plain(argument) if argument else _NAMELESS for argument in arguments]
    return _expanded(arguments, b"\0" if null else b"\n", recursive)


def split_names(blocks: Iterable[bytes], separator: bytes) -> Iterator[Input]:
    """The names in a list that arrives in blocks, without empty ones."""
    rest, skipping = b"", False
    for block in blocks:
        *names, rest = (rest + block).split(separator)
        for name in names:
            if name and not skipping:
                yield _name(name)
            skipping = False
        if len(rest) > NAME_LIMIT:
            if not skipping:
                yield _name(rest)
            rest, skipping = b"", True
    if rest and not skipping:
        yield _name(rest)


def _name(raw: bytes) -> Input:
    if len(raw) <= NAME_LIMIT:
        return os.fsdecode(raw)
    message = "a name of more than 65536 bytes: is this a list of names, one a line?"
    return os.fsdecode(raw[:100]) + "...", ImageError("missing", message)


def _expanded(arguments: Sequence[str], separator: bytes, recursive: bool) -> Iterator[Input]:
    for argument in arguments:
        if not argument:
            yield _NAMELESS
            continue
        if not _is_list(argument):
            yield from _file_or_folder(_plain(argument), recursive)
            continue
        try:
            for name in split_names(_blocks(argument), separator):
                if not isinstance(name, str):
                    yield name
                elif path := name if separator == b"\0" else _without_return(name):
                    yield from _file_or_folder(path, recursive)
        except OSError as error:
            yield argument, ImageError("unreadable", f"cannot be read: {reason(error)}")


def _without_return(line: str) -> str:
    """A line of a list that may have been made on Windows, where lines end with CR and LF.

    A name may end with CR, too, so it stays where such a file is there.
    """
    if line.endswith("\r") and not os.path.lexists(line):
        return line[:-1]
    return line


def _is_list(argument: str) -> bool:
    return argument == "-" or (argument.startswith("@") and not argument.startswith("@@"))


def _plain(argument: str) -> str:
    return argument[1:] if argument.startswith("@@") else argument


def _require_readable(argument: str) -> None:
    """Raise InputError for a list that is the only input and cannot be read."""
    if argument == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed: there is no list to read")
        return
    path, shown = argument[1:], printable(argument[1:])
    if not path:
        raise InputError("@ needs the name of a list: @list.txt")
    if not os.path.exists(path):
        raise InputError(f"{shown}: there is no such list (the image @{shown} is @@{shown})")
    if os.path.isdir(path):
        raise InputError(f"{shown}: is a folder, not a list of names")
    if not os.access(path, os.R_OK):
        raise InputError(f"{shown}: may not be read: check its permissions")


def _blocks(argument: str) -> Iterator[bytes]:
    """A list's bytes as they arrive. Past Python's buffer: a thread that waits there locks it."""
    if argument == "-":
        if sys.stdin is None:
            raise OSError(0, "standard input is closed")
        while block := os.read(0, _BLOCK):
            yield block
        return
    descriptor = os.open(argument[1:], os.O_RDONLY | os.O_CLOEXEC)
    try:
        while block := os.read(descriptor, _BLOCK):
            yield block
    finally:
        os.close(descriptor)


def _file_or_folder(path: str, recursive: bool) -> Iterator[Input]:
    if not os.path.isdir(path):
        yield path
        return
    empty = True
    for image in _images(path, recursive):
        empty = False
        yield image
    if empty:
        yield (
            path,
            ImageError(
                "no-images",
                "the folder holds no images" + ("" if recursive else " (-r descends)"),
            ),
        )


def _images(folder: str, recursive: bool) -> Iterator[Input]:
    """The images in a folder by name, then those of its folders.

    Hidden files and folders, and links to folders, are left out: so no loop can be walked.
    """
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        images, folders = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _is_input(entry):
                        images.append(entry.name)
                    elif recursive and _is_visible_folder(entry):
                        folders.append(entry.name)
        except OSError as error:
            yield folder, ImageError("forbidden", f"cannot be listed: {reason(error)}")
        yield from (os.path.join(folder, name) for name in sorted(images))
        waiting += (os.path.join(folder, name) for name in sorted(folders, reverse=True))


def _is_input(entry: os.DirEntry[str]) -> bool:
    """True for an image, and for an entry that cannot be looked at: reading it says why."""
    try:
        return is_image(entry, ENDINGS_SEEN)
    except OSError:  # such as a link to itself
        return True


def _is_visible_folder(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
