"""Inputs to be scored: files, folders, archives, and lists of names, one after the other.

Names are bytes to the system; here they are text that keeps every byte (``os.fsdecode``). A list
is read as it arrives, and no more of it is held than one name and one block. Images in a store are
copied one by one and shown under their URLs; a copy ends with the last of its images.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path

from catclf.errors import ImageError, InputError
from catclf.images.archive import TAR, Failed, Member, is_archive, parquet_images
from catclf.images.formats import is_image, sniffed
from catclf.images.preprocess import Limits
from catclf.images.tree import LeftOut, images_below, is_hidden, members
from catclf.storage.local import kind_of_bytes
from catclf.storage.location import Copy, is_remote, locate
from catclf.storage.parquet import is_parquet
from catclf.text import printable, reason, without_query

_LIST_IN_STORE = "lists are read from disk alone: copy it here, or pipe it to -"
NAME_LIMIT = 65536  # bytes; the system takes 4096
FEW = 1000  # inputs whose number is known
_BLOCK = 65536
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARKS = (codecs.BOM_UTF8, *_UTF16)

Input = str | Failed
_NAMELESS: Input = "", ImageError("missing", "its name is empty: is a variable not set?")


def read_inputs(
    arguments: Iterable[str],
    *,
    null: bool = False,
    recursive: bool = False,
    left_out: LeftOut | None = None,
    limit: int = Limits.file_bytes,
    lists: bool = True,
    remote: bool = True,
) -> Iterable[Input]:
    """Each image's path, or a path with the reason why there is no image, in order.

    An argument is a file, a folder (its images by name, with ``recursive`` those of its folders
    too), an archive or a Parquet file (all its images), and with ``lists`` also ``-`` (a list of
    names on stdin), ``@name`` (a list in a file) or ``@@name`` (the file ``@name``). A list holds
    names of files, folders, archives and Parquet files, nothing else; lines end with a newline (or
    CR and newline), or with NUL if ``null``; empty ones are left out. URLs are read if ``remote``.
    The result is a sequence where it is as long as the arguments, so that its length is known.
    Files of folders and archives that are no images are counted in ``left_out``; images in Parquet
    files have at most ``limit`` bytes. Raises InputError where no list can be read.
    """
    left_out = LeftOut() if left_out is None else left_out
    inputs = _Inputs(left_out, recursive, limit, null, lists, remote)
    if not isinstance(arguments, list | tuple):
        return inputs.of(arguments)
    if len(arguments) == 1 and inputs.is_list(arguments[0]):
        _require_readable(arguments[0])
    if lists and arguments.count("-") > 1:
        raise InputError("- is given twice: standard input can be read once")
    if len(arguments) < FEW and not any(map(inputs.holds_others, arguments)):
        return [inputs.plain(argument) if argument else _NAMELESS for argument in arguments]
    return inputs.of(arguments)


def _require_readable(argument: str) -> None:
    """Raise InputError for a list that is the only input and cannot be read."""
    path, shown = argument[1:], printable(argument[1:])
    if argument == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed: there is no list to read")
    elif is_remote(path):
        raise InputError(f"{shown}: {_LIST_IN_STORE}")
    elif os.path.isdir(path) or not os.access(path, os.R_OK):
        raise InputError(
            f"{shown}: there is no list of names that may be read (the image @{shown} is @@{shown})"
        )


@dataclass
class _Inputs:
    """Files as they are, and folders, archives, Parquet files and lists as their images."""

    left_out: LeftOut
    recursive: bool
    limit: int
    null: bool
    lists: bool
    remote: bool

    def is_list(self, argument: str) -> bool:
        of_file = argument.startswith("@") and not argument.startswith("@@")
        return self.lists and (argument == "-" or of_file)

    def plain(self, argument: str) -> str:
        """The path that an argument means which is no list."""
        return argument[1:] if self.lists and argument.startswith("@@") else argument

    def holds_others(self, argument: str) -> bool:
        if self.is_list(argument) or is_remote(argument):
            return True
        return is_archive(argument) or is_parquet(argument) or os.path.isdir(argument)

    def of(self, arguments: Iterable[str]) -> Iterator[Input]:
        """The inputs of all arguments."""
        for argument in arguments:
            if not argument:
                yield _NAMELESS
            elif self.is_list(argument):
                yield from self._of_list(argument)
            elif self.remote and is_remote(argument):
                yield from self._of_url(without_query(argument), argument)
            else:
                yield from self._of_path(self.plain(argument))

    def _of_list(self, argument: str) -> Iterator[Input]:
        try:
            blocks = _names_alone(_blocks(argument))
            if self.null:
                names = split_names(blocks, b"\0")
            else:
                names = split_names(plain_text(blocks), b"\n")
            for name in names:
                if not isinstance(name, str):
                    yield name
                elif "\0" in name:
                    why = "holds NUL bytes: is no list of names, or `null` reads it"
                    raise ImageError("not-a-list", why)
                elif path := name if self.null else _without_return(name):
                    yield from self._of_path(path)
        except OSError as error:
            yield argument, ImageError("unreadable", f"cannot be read: {reason(error)}")
        except ImageError as error:
            yield argument, error

    def _of_path(self, path: str) -> Iterator[Input]:
        """An image's path, or the images of a folder or an archive in order."""
        if is_remote(path):  # names in lists lead to no store, whoever wrote them
            why = "names in lists are read from disk alone: give it as an argument"
            yield path, ImageError("unreadable", why)
        elif os.path.isdir(path):
            images = images_below(path, self.left_out, self.recursive)
            yield from self._all_of(path, images, "folder")
        else:
            yield from self._of_file(path, path, path)

    def _of_file(self, path: str, image: str, shown: str) -> Iterator[Input]:
        """``image``, or what the file at ``path`` holds if it is one that holds images."""
        if is_archive(path):
            yield from self._all_of(shown, members(path, self.left_out), "archive")
        elif is_parquet(path):
            yield from self._all_of(shown, parquet_images(path, self.limit), "file")
        else:
            yield image

    def _all_of(self, path: str, images: Iterable[Input], what: str) -> Iterator[Input]:
        """The images, or the failure of ``path`` that there are none."""
        empty = True
        for image in images:
            empty = False
            yield image
        if empty:
            flat = what == "folder" and not self.recursive
            below = ": `recursive` also reads the folders in it" if flat else ""
            yield path, ImageError("no-images", f"the {what} holds no images{below}")

    def _of_url(self, shown: str, url: str) -> Iterator[Input]:
        """What is at a URL. Raises SettingsError where the library for its scheme is missing."""
        try:
            below = locate(url).files_below(self.recursive)
        except OSError as error:
            yield shown, _unreadable(error)
            return
        if below is None:
            yield from self._of_copy(shown, url)
            return
        folder = len(shown.rstrip("/"))
        listed = (each for each in below if self._is_listed(each, each[folder:]))
        images = (image for each in listed for image in self._of_copy(each, each))
        yield from self._all_of(shown, images, "folder")

    def _is_listed(self, url: str, name: str) -> bool:
        """Whether a file of a folder in a store is an image, as on disk; others are counted."""
        if any(map(is_hidden, filter(None, name.split("/")))):
            return False
        listed = is_image(name, partial(_first_bytes, url), name_heif=True)
        if not listed:
            self.left_out.add(name)
        return listed

    def _of_copy(self, shown: str, url: str) -> Iterator[Input]:
        try:
            copy = Copy.of(url)
            size = Path(copy).stat().st_size
        except OSError as error:
            yield shown, _unreadable(error)
            return
        image = Member.shown(shown, copy, (0, size, size, 0, TAR))
        for each in self._of_file(copy, image, copy):  # a copy has the ending of its original
            if isinstance(each, tuple):
                yield shown + each[0][len(copy) :], each[1]
            else:
                assert isinstance(each, Member), "files hold members"
                yield each if each is image else each.called(shown + each[len(copy) :])


def _first_bytes(url: str) -> BytesIO:
    """How a file in a store begins. Raises OSError."""
    with locate(url).stream() as file:
        return BytesIO(file.read(64))


def _unreadable(error: OSError) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError("missing", "there is no such file")
    return ImageError("unreadable", f"cannot be read: {reason(error)}")


# Lists of names


def _blocks(argument: str) -> Iterator[bytes]:
    """A list's bytes as they arrive. Past Python's buffer: a thread that waits there locks it."""
    if argument == "-":
        if sys.stdin is None:
            raise OSError(0, "standard input is closed")
        descriptor = os.dup(0)
    elif is_remote(argument[1:]):
        raise OSError(0, _LIST_IN_STORE)
    else:
        descriptor = os.open(argument[1:], os.O_RDONLY | os.O_CLOEXEC)
    try:
        while block := os.read(descriptor, _BLOCK):
            yield block
    finally:
        os.close(descriptor)


def _names_alone(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of a list. Raises ImageError for an image or another file in its place."""
    start = next(blocks, b"")
    kind = "an image" if sniffed(BytesIO(start)) else kind_of_bytes(start)
    if start[257:262] == b"ustar":
        kind = "a tar archive"
    if kind:
        why = f"is no list of names: it is {kind}; give the file's name as an argument"
        raise ImageError("not-a-list", why)
    yield start
    yield from blocks


def plain_text(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of a list without the mark that Windows puts first; UTF-16 as UTF-8.

    Waits for more than the first bytes only while they may be the beginning of a mark.
    """
    start = b""
    for block in blocks:
        start += block
        if start in _MARKS or not any(mark.startswith(start) for mark in _MARKS):
            break
    if not start.startswith(_UTF16):
        yield start.removeprefix(codecs.BOM_UTF8)
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    for block in chain([start], blocks):
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


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


def _without_return(line: str) -> str:
    """A line of a list that may have been made on Windows, where lines end with CR and LF.

    A name may end with CR, too, so it stays where such a file is there.
    """
    if line.endswith("\r") and not os.path.lexists(line):
        return line[:-1]
    return line
