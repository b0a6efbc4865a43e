"""The images in Parquet files, as data sets of Hugging Face have them: read row by row, in order.

A row holds a file's bytes, alone or in a struct with its path, which is only shown. Nothing here
loads NumPy or Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from catclf.errors import ImageError
from catclf.images.member import Content, Member, Unreadable
from catclf.images.walk import Failed
from catclf.storage.parquet import ParquetFile
from catclf.text import counted, printable

IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "jpg", "png", "bytes", "content")


def image_column(file: ParquetFile, wanted: str | None = None) -> str:
    """The column of images. Raises ImageError where there is none, or several."""
    held = [name for name, kind in file.columns.items() if kind in ("image", "bytes")]
    if wanted is not None and wanted in held:
        return wanted
    if wanted is None:
        named = [name for name in IMAGE_COLUMNS if name in held]
        structs = [name for name in held if file.columns[name] == "image"]
        for some in (structs, named, held):
            if len(some) == 1:
                return some[0]
    columns = ", ".join(printable(name) for name in list(file.columns)[:20]) or "nothing"
    if wanted is not None:
        why = f"has no images in a column {printable(wanted)}; it has {columns}"
    elif held:
        listed = " and ".join(map(printable, held[:5]))
        why = f"has several columns of images, {listed}: `columns=image,label` says which"
    else:
        why = f"has no column of images, as image: struct<bytes, path>; it has {columns}"
    raise ImageError("no-images", why)


def image_name(path: str | None, row: int) -> str:
    """The name of a row's image: its path, or its number in the file."""
    return path or str(row)


def images(path: str, limit: int) -> Iterator[Member | Failed]:
    """All images of a file; those of more than ``limit`` bytes fail.

    A file that cannot be read is a failure under its own name. In a row group that cannot be read,
    or not further, each image is one.
    """
    try:
        with ParquetFile(path) as file:
            column = image_column(file)
            names = names_of(file, column)
            first = 0
            for group, rows in enumerate(file.groups):
                yield from _of_group(file, column, group, names[first : first + rows], limit)
                first += rows
    except ImageError as error:
        yield path, error


def _of_group(
    file: ParquetFile, column: str, group: int, names: Sequence[str], limit: int
) -> Iterator[Member | Failed]:
    done = 0
    failure = ImageError("damaged", "is missing in its file, which is damaged")
    try:
        for name, content in zip(names, file.images(column, group, limit), strict=False):
            done += 1
            image = member(file.path, name, content)
            yield (str(image), image.failure) if isinstance(image, Unreadable) else image
    except ImageError as error:
        failure = error
    for name in names[done:]:
        yield f"{file.path}:{name}", failure


def names_of(file: ParquetFile, column: str) -> Sequence[str]:
    """The name of each row."""
    rows = range(sum(file.groups))
    if file.columns[column] != "image":
        return [image_name(None, row) for row in rows]
    return [image_name(path, row) for row, path in zip(rows, file.paths(column), strict=True)]


def member(path: str, name: str, content: bytes | int | None) -> Member:
    """The image of a row, of which ``content`` is what ``ParquetFile.images`` gives."""
    if content is None:
        why = ImageError("missing", "has no bytes in its file, at most a path, which is not read")
        return Unreadable.because(path, name, why)
    if isinstance(content, int):
        why = ImageError("too-large", f"has {counted(content, 'byte')}, more than the limit")
        return Unreadable.because(path, name, why)
    return Content.holding(path, name, content)
