"""Remote inputs of ``catclf predict``: copied one by one, decoded here, shown under their URLs.

A copy ends with the last of its images, so that no more than a few are on disk at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from catclf.cli.predict.inputs import Input
from catclf.errors import ImageError
from catclf.images.archive import is_archive, members
from catclf.images.formats import ENDINGS, HEIF_ENDINGS
from catclf.images.member import TAR, Member
from catclf.images.preprocess import Limits
from catclf.images.walk import LeftOut
from catclf.storage.parquet import is_parquet
from catclf.storage.remote import Copy, files_below
from catclf.text import reason, url_of

AnyMember = TypeVar("AnyMember", bound=Member)


def images_of(path: str, left_out: LeftOut, recursive: bool) -> Iterator[Input]:
    """The image at a URL, or those of a folder or an archive there, in order.

    Raises SettingsError where the library for its scheme is missing.
    """
    url = url_of(path)
    try:
        below = files_below(url, recursive)
    except OSError as error:
        yield url, _unreadable(error)
        return
    if below is None:
        yield from _of_file(url, left_out)
        return
    empty = True
    for each in below:
        if is_archive(each) or Path(each).suffix.lower() not in ENDINGS | HEIF_ENDINGS:
            left_out.add(each)
            continue
        empty = False
        yield from _of_file(each, left_out)
    if empty:
        why = "the folder holds no images" + ("" if recursive else " (-r descends)")
        yield url, ImageError("no-images", why)


def _of_file(url: str, left_out: LeftOut) -> Iterator[Input]:
    try:
        copy = Copy.of(url)
        size = Path(copy).stat().st_size
    except OSError as error:
        yield url, _unreadable(error)
        return
    if is_parquet(url):
        from catclf.images.parquet import images

        inside, what = images(copy, Limits.file_bytes), "file"
    elif is_archive(url):
        inside, what = members(copy, left_out), "archive"
    else:
        yield Member.shown(url, copy, (0, size, size, 0, TAR))
        return
    empty = True
    for member in inside:
        empty = False
        if isinstance(member, tuple):
            name, failure = member
            yield url + name[len(copy) :], failure
        else:
            yield _shown_at(member, url, len(copy))
    if empty:
        yield url, ImageError("no-images", f"the {what} holds no images")


def _shown_at(member: AnyMember, url: str, length: int) -> AnyMember:
    """The same image with a URL in the place of the first characters, the name of the copy."""
    shown = type(member)(url + member[length:])
    for kind in type(member).__mro__:
        for name in getattr(kind, "__slots__", ()):
            setattr(shown, name, getattr(member, name))
    return shown


def _unreadable(error: OSError) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError("missing", "there is no such file")
    return ImageError("unreadable", f"cannot be read: {reason(error)}")
