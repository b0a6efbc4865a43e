"""Inputs of a command: files, folders, and lists of names, one after the other.

Names are bytes to the system; here they are text that keeps every byte (``os.fsdecode``). A list
is read as it arrives, and no more of it is held than one name and one block.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from catclf.errors import ImageError, InputError
from catclf.images.archive import is_archive, members
from catclf.images.preprocess import Limits
from catclf.images.walk import LeftOut, Walk
from catclf.storage.location import is_remote
from catclf.storage.parquet import is_parquet
from catclf.text import printable, reason

_LIST_IN_STORE = "lists are read from disk alone: copy it here, or pipe it to -"
_NAME_IN_STORE = "names in lists are read from disk alone: give it as an argument"
NAME_LIMIT = 65536  # bytes; the system takes 4096
_BLOCK = 65536

Input = str | tuple[str, ImageError]
_NAMELESS: Input = "", ImageError("missing", "its name is empty: is a variable not set?")


def read_inputs(
    arguments: Sequence[str],
    *,
    null: bool = False,
    recursive: bool = False,
    left_out: LeftOut | None = None,
    limit: int = Limits.file_bytes,
) -> Iterable[Input]:
    """Each image's path, or a path with the reason why there is no image, in order.

    An argument is a file, a folder (its images by name, with ``recursive`` those of its folders
    too), an archive or a Parquet file (all its images), ``-`` (a list of names on stdin), ``@name``
    (a list in a file) or ``@@name`` (the file ``@name``). A list holds names of files, folders,
    archives and Parquet files, nothing else; lines end with a newline (or CR and newline), or with
    NUL if ``null``; empty ones are left out. The result is a sequence where it is as long as the
    arguments, so that its length is known. Files of folders and archives that are no images are
    counted in ``left_out``; images in Parquet files have at most ``limit`` bytes. Raises InputError
    where no list can be read.
    """
    lists = [argument for argument in arguments if _is_list(argument)]
    if len(arguments) == 1 and lists:
        _require_readable(lists[0])
    if lists.count("-") > 1:
        raise InputError("- is given twice: standard input can be read once")
    others = any(map(is_remote, arguments)) or len(arguments) >= 1000
    if not others and not lists and not any(map(_holds_others, arguments)):
        return [_plain(argument) if argument else _NAMELESS for argument in arguments]
    walk = _FolderWalk(LeftOut() if left_out is None else left_out, recursive, limit)
    return _expanded(arguments, b"\0" if null else b"\n", walk)


def _holds_others(argument: str) -> bool:
    return is_archive(argument) or is_parquet(argument) or os.path.isdir(argument)


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


def plain_text(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of a list without the mark that Windows puts first; UTF-16 as UTF-8.

    Waits for more than the first bytes only while they may be the beginning of a mark.
    """
    start = b""
    for block in blocks:
        start += block
        if not any(mark.startswith(start) for mark in (codecs.BOM_UTF8, *_UTF16)):
            break
        if start in (codecs.BOM_UTF8, *_UTF16):
            break
    if not start.startswith(_UTF16):
        yield start.removeprefix(codecs.BOM_UTF8)
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    yield decoder.decode(start).encode("utf-8", "surrogatepass")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _name(raw: bytes) -> Input:
    if len(raw) <= NAME_LIMIT:
        return os.fsdecode(raw)
    message = "a name of more than 65536 bytes: is this a list of names, one a line?"
    return os.fsdecode(raw[:100]) + "...", ImageError("missing", message)


def _expanded(arguments: Sequence[str], separator: bytes, walk: _FolderWalk) -> Iterator[Input]:
    for argument in arguments:
        if not argument:
            yield _NAMELESS
            continue
        if not _is_list(argument):
            yield from walk.inputs_of_argument(_plain(argument))
            continue
        try:
            blocks = _blocks(argument)
            if separator == b"\n":
                blocks = plain_text(blocks)
            for name in split_names(blocks, separator):
                if not isinstance(name, str):
                    yield name
                elif path := name if separator == b"\0" else _without_return(name):
                    yield from walk.inputs(path)
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
    if is_remote(path):
        raise InputError(f"{shown}: {_LIST_IN_STORE}")
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
    if is_remote(argument[1:]):
        raise OSError(0, _LIST_IN_STORE)
    descriptor = os.open(argument[1:], os.O_RDONLY | os.O_CLOEXEC)
    try:
        while block := os.read(descriptor, _BLOCK):
            yield block
    finally:
        os.close(descriptor)


class _FolderWalk:
    """Files as they are, and folders, archives and Parquet files as their images."""

    def __init__(self, left_out: LeftOut, recursive: bool, limit: int) -> None:
        self._left_out, self._recursive, self._limit = left_out, recursive, limit

    def inputs_of_argument(self, argument: str) -> Iterator[Input]:
        """The same of what was typed: names in lists lead to no store, whoever wrote them."""
        if is_remote(argument):
            from catclf.cli.predict.remote import images_of

            yield from images_of(argument, self._left_out, self._recursive, self._limit)
        else:
            yield from self.inputs(argument)

    def inputs(self, path: str) -> Iterator[Input]:
        """An image's path, or the images of a folder or an archive in order."""
        if is_remote(path):
            yield path, ImageError("unreadable", _NAME_IN_STORE)
            return
        if os.path.isdir(path):
            images = Walk(self._left_out, name_heif=True).images(path, self._recursive)
            yield from all_of(path, images, none_in_folder(self._recursive))
            return
        held = held_by(path, self._left_out, self._limit)
        if held is None:
            yield path
        else:
            yield from all_of(path, *held)


def held_by(path: str, left_out: LeftOut, limit: int) -> tuple[Iterable[Input], str] | None:
    """The images in an archive or a Parquet file, and what to say where there are none.

    None for any other file.
    """
    if is_archive(path):
        return members(path, left_out), "the archive holds no images"
    if is_parquet(path):
        from catclf.images.parquet import images

        return images(path, limit), "the file holds no images"
    return None


def none_in_folder(recursive: bool) -> str:
    """What to say of a folder without images."""
    return "the folder holds no images" + ("" if recursive else " (-r descends)")


def all_of(path: str, images: Iterable[Input], why: str) -> Iterator[Input]:
    """The images, or the failure of ``path`` that there are none."""
    empty = True
    for image in images:
        empty = False
        yield image
    if empty:
        yield path, ImageError("no-images", why)
