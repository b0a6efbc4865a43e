"""Remote inputs of ``catclf predict``: copied one by one, decoded here, shown under their URLs.

A copy ends with the last of its images, so that no more than a few are on disk at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from catclf.cli.predict.inputs import Input, all_of, held_by, none_in_folder
from catclf.errors import ImageError
from catclf.images.archive import is_archive
from catclf.images.formats import ENDINGS, HEIF_ENDINGS
from catclf.images.member import TAR, Member
from catclf.images.walk import LeftOut
from catclf.storage.location import Copy, Stored
from catclf.text import reason, url_of

AnyMember = TypeVar("AnyMember", bound=Member)


def images_of(path: str, left_out: LeftOut, recursive: bool, limit: int) -> Iterator[Input]:
    """The image at a URL, or those of a folder or an archive there, in order.

    Images in Parquet files have at most ``limit`` bytes. Raises SettingsError where the library for
    its scheme is missing.
    """
    url = url_of(path)
    try:
        below = Stored(url).files_below(recursive)
    except OSError as error:
        yield url, _unreadable(error)
        return
    if below is None:
        yield from _of_file(url, left_out, limit)
    else:
        images = _of_files(below, left_out, limit)
        yield from all_of(url, images, none_in_folder(recursive))


def _of_files(urls: Iterable[str], left_out: LeftOut, limit: int) -> Iterator[Input]:
    for url in urls:
        if is_archive(url) or Path(url).suffix.lower() not in ENDINGS | HEIF_ENDINGS:
            left_out.add(url)
        else:
            yield from _of_file(url, left_out, limit)


def _of_file(url: str, left_out: LeftOut, limit: int) -> Iterator[Input]:
    try:
        copy = Copy.of(url)
        size = Path(copy).stat().st_size
    except OSError as error:
        yield url, _unreadable(error)
        return
    held = held_by(copy, left_out, limit)  # a copy has the ending of its original
    if held is None:
        yield Member.shown(url, copy, (0, size, size, 0, TAR))
        return
    images, why = held
    yield from all_of(url, (_at_url(image, url, len(copy)) for image in images), why)


def _at_url(image: Input, url: str, length: int) -> Input:
    """An image of a copy, or its failure, under the URL of the original."""
    if isinstance(image, tuple):
        name, failure = image
        return url + name[length:], failure
    assert isinstance(image, Member), "files hold members"
    return _shown_at(image, url, length)


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
