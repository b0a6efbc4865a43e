"""Parquet files, read and written a few rows at a time: the one door to pyarrow.

Nothing of a row group is read but the pages of the columns that are asked for.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catclf.errors import CatclfError, ImageError, SettingsError
from catclf.storage.local import kind_of_file
from catclf.storage.location import locate
from catclf.text import first_line, printable, reason, to_install

ENDING = ".parquet"
AT_ONCE = 4  # images: a page that repeats one of them takes a few bytes in the file
_RATIO = 100  # by which images are never compressed
_BUFFER = 1 << 20  # bytes read of a column at a time
_KINDS = {
    "bytes": ("binary", "large_binary", "binary_view"),
    "text": ("string", "large_string", "string_view"),
    "number": (
        *("bool", "halffloat", "float", "double", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    ),
}


def is_parquet(path: str) -> bool:
    """Whether a name is a Parquet file's."""
    return path.lower().endswith(ENDING)


def _arrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet. Raises SettingsError where they are missing."""
    try:
        import pyarrow  # noqa: TID251
        import pyarrow.parquet  # noqa: TID251
    except ImportError as error:
        raise SettingsError(f"Parquet needs pyarrow: {to_install('parquet')}") from error
    return pyarrow, pyarrow.parquet


class ParquetFile:
    """An open file. ``groups`` are the numbers of rows of its row groups.

    ``columns`` are names with what they hold: "image" (a struct of bytes and path), "bytes",
    "number", "text" or "other". Raises ImageError, as all its methods, for a file that is none,
    and where pyarrow is not installed.
    """

    def __init__(self, path: str) -> None:
        self.path, self._place = path, path
        with self._sound():
            self._pa, pq = _arrow()
            self._place = locate(path).local()
            if not stat.S_ISREG(os.stat(self._place).st_mode):  # noqa: PTH116  a pipe would wait
                raise ImageError("not-a-file", "is not a regular file")
            self._source = self._pa.OSFile(os.fsencode(self._place))
            self._file = pq.ParquetFile(self._source, pre_buffer=False, buffer_size=_BUFFER)
            schema, facts = self._file.schema_arrow, self._file.metadata
            self.columns = {field.name: _kind(field.type) for field in schema}
            self.groups = [facts.row_group(i).num_rows for i in range(facts.num_row_groups)]
            self.notes: bytes = (schema.metadata or {}).get(b"huggingface", b"")
            rows, size = sum(self.groups), self._source.size()
        if min(self.groups, default=0) < 0 or rows > size:  # which no images can have
            raise ImageError("damaged", f"is damaged: it has {rows} rows in {size} bytes")

    def __enter__(self) -> ParquetFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._source.close()

    def values(self, column: str) -> list[Any]:
        """All values of a column of numbers or texts, None where there is none."""
        return self._read(column)

    def paths(self, column: str) -> list[str | None]:
        """The paths of the images of a struct, as they are in its file."""
        return self._read(f"{column}.path") or [None] * sum(self.groups)

    def _read(self, column: str) -> list[Any]:
        """The values of a column, or of a field of one; none where there is no such field."""
        with self._sound():
            table = self._file.read(columns=[column], use_threads=False)
            if not table.num_columns:
                return []
            if table.num_rows != sum(self.groups):
                raise ImageError("damaged", "is damaged: its columns have different lengths")
            found = table.column(0).combine_chunks()
            if str(found.type).startswith("struct"):
                (found,) = found.flatten()
            values: list[Any] = found.to_pylist()
        return values

    def images(self, column: str, group: int, limit: int) -> Iterator[bytes | int | None]:
        """The images of a row group: bytes, their number if above ``limit``, or None."""
        name = f"{column}.bytes" if self.columns[column] == "image" else column
        self._require_no_bomb(name, group, limit)
        batches = self._file.iter_batches(
            batch_size=AT_ONCE, row_groups=[group], columns=[name], use_threads=False
        )
        while True:
            with self._sound():
                batch = next(batches, None)
                if batch is None:
                    return
                array = batch.column(0)
                if self.columns[column] == "image":
                    (array,) = array.flatten()
                if str(array.type).startswith("dictionary"):
                    array = array.dictionary_decode()
                if str(array.type) == "binary_view":
                    array = array.cast(self._pa.large_binary())
            for value in array:
                buffer = value.as_buffer()
                if buffer is not None and buffer.size > limit:
                    yield buffer.size
                else:
                    yield None if buffer is None else buffer.to_pybytes()

    def _require_no_bomb(self, name: str, group: int, limit: int) -> None:
        """Raise ImageError for a row group that becomes far larger than it is, and than a file."""
        with self._sound():
            columns = self._file.metadata.row_group(group)
            each = map(columns.column, range(columns.num_columns))
            facts = next(column for column in each if column.path_in_schema == name)
            declared, stored = facts.total_uncompressed_size, facts.total_compressed_size
        if declared > max(limit, _RATIO * stored):
            why = f"is in a row group of {stored} bytes that would become {declared}"
            raise ImageError("too-large", why)

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """A block that reads the file; what goes wrong is an ImageError."""
        try:
            yield
        except ImageError:
            raise
        except CatclfError as error:
            raise ImageError("unsupported", str(error)) from error
        except MemoryError as error:
            why = f"needs too much memory: {printable(first_line(error))}"
            raise ImageError("damaged", why) from error
        except FileNotFoundError as error:
            raise ImageError("missing", "there is no such file") from error
        except PermissionError as error:
            raise ImageError("forbidden", "may not be read: check its permissions") from error
        except Exception as error:  # pyarrow has its own, and those of Python
            if isinstance(error, OSError) and error.errno is not None:
                raise ImageError("unreadable", f"cannot be read: {reason(error)}") from error
            why = kind_of_file(Path(self._place)) or f": {printable(first_line(error))}"
            raise ImageError("damaged", f"is damaged, or not a Parquet file{why}") from error


def _kind(type: Any) -> str:
    """What values of a type of Arrow are."""
    if str(type).startswith("dictionary"):
        return _kind(type.value_type)
    if str(type).startswith("struct"):
        at = type.get_field_index("bytes")
        return "image" if at >= 0 and _kind(type.field(at).type) == "bytes" else "other"
    return next((kind for kind, types in _KINDS.items() if str(type) in types), "other")


class ParquetRows:
    """Rows as the bytes of a Parquet file, handed out row group by row group.

    ``columns`` are names with "text", "number" or "flag", of which each value may be None;
    ``facts`` are kept in the file. Raises SettingsError where pyarrow is not installed.
    """

    GROUP = 65536  # rows

    def __init__(self, columns: Mapping[str, str], facts: Mapping[str, str]) -> None:
        self._pa, self._pq = _arrow()
        types = {"text": self._pa.string(), "number": self._pa.float64(), "flag": self._pa.bool_()}
        fields = [self._pa.field(name, types[kind]) for name, kind in columns.items()]
        self._schema = self._pa.schema(fields, metadata=dict(facts))
        self._rows: list[tuple[str | float | None, ...]] = []
        self._begin()

    def _begin(self) -> None:
        self._sink = _Sink()
        self._writer = self._pq.ParquetWriter(self._sink, self._schema)

    def add(self, row: Sequence[str | float | None]) -> bytes:
        """Take one row; the bytes that are ready to be written."""
        self._rows.append(tuple(row))
        if len(self._rows) < self.GROUP:
            return b""
        self._write()
        return self._sink.taken()

    def end(self) -> bytes:
        """The last bytes of the file. Rows after them are of another one."""
        self._write()
        self._writer.close()
        content = self._sink.taken()
        self._begin()
        return content

    def _write(self) -> None:
        """The rows that wait, as a row group."""
        if self._rows:
            columns = zip(zip(*self._rows, strict=True), self._schema, strict=True)
            arrays = [self._pa.array(column, field.type) for column, field in columns]
            self._writer.write_table(self._pa.table(arrays, schema=self._schema))
            self._rows = []


class _Sink(io.BytesIO):
    """A file whose bytes are taken from it as they are written."""

    _before = 0  # bytes that were taken

    def tell(self) -> int:
        return self._before + super().tell()

    def taken(self) -> bytes:
        """The bytes written since the last call."""
        content = self.getvalue()
        self._before += len(content)
        self.seek(0)
        self.truncate()
        return content
