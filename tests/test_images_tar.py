"""Tar archives are listed as Python's tarfile lists them, whatever is in their headers."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Literal

import pytest
from archive_files import tar
from hypothesis import given
from hypothesis import strategies as st

from catclf.errors import ImageError
from catclf.images.archive import tar_entries

Listed = list[tuple[str, bool, tuple[int, int] | None]]  # name, folder or not, place and size
FORMATS: list[Literal[0, 1, 2]] = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
TYPES = [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, b"7", b"Q"]
LETTERS = st.characters(codec="utf-8", exclude_characters="\0")
NAMES = st.one_of(
    st.text("ab/.ä", min_size=1, max_size=12),
    st.text(LETTERS, min_size=1, max_size=40),
    st.integers(90, 300).map(lambda length: ("folder/" * 50)[: length - 4] + ".jpg"),
)
KEYS = ["comment", "path", "size", "mtime", "uid", "hdrcharset", "GNU.sparse.name", "x"]
RECORDS = st.dictionaries(st.sampled_from(KEYS), st.text(LETTERS, max_size=9), max_size=2)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A header of any kind, with what belongs to it, as tarfile writes them."""
    info = tarfile.TarInfo(draw(NAMES))
    info.type = draw(st.sampled_from([tarfile.REGTYPE, *TYPES]))
    info.size = draw(st.sampled_from([0, 5, 512, 700]))
    info.mtime = draw(st.sampled_from([0, 1.5]))
    info.pax_headers = draw(RECORDS)
    format = draw(st.sampled_from(FORMATS))
    try:
        header = info.tobuf(format)
    except (ValueError, UnicodeEncodeError):  # a name too long for the format, bytes of no text
        header = tarfile.TarInfo("a").tobuf()
    blocks = bytes(-(-info.size // 512) * 512)
    return header + (blocks if info.isreg() or info.type == b"Q" else b"")


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Headers in any order; some bytes changed, with a sum that is right or one that is not."""
    first = tarfile.TarInfo("first.png").tobuf()
    content = bytearray(first + b"".join(draw(st.lists(headers(), max_size=4))) + bytes(1024))
    if draw(st.booleans()):
        block = 512 * draw(st.integers(1, len(content) // 512 - 1))
        at = draw(st.sampled_from([0, 50, 99, 124, 134, 150, 156, 257, 345, 400, 511]))
        content[block + at] = draw(st.sampled_from(b"\0 019Lgx=\x80\xff/"))
        if draw(st.booleans()):
            header = bytes(content[block : block + 512])
            total = 256 + sum(header[:148]) + sum(header[156:])
            content[block + 148 : block + 156] = b"%06o\0 " % total
    cut = draw(st.integers(0, 2000)) if draw(st.booleans()) else 0
    return bytes(content[: max(512, len(content) - cut)])


def listed_by_tarfile(content: bytes) -> tuple[Listed, bool]:
    """What tarfile alone lists, and whether it came to an end."""
    found: Listed = []
    file = io.BytesIO(content)
    try:
        while True:
            with tarfile.open(fileobj=file, mode="r:", errorlevel=0) as opened:
                while (info := opened.next()) is not None:
                    is_file = info.isreg() and not info.issparse()
                    place = (info.offset_data, info.size) if is_file else None
                    impossible = place is not None and not 0 <= min(place) <= max(place) < 1 << 62
                    found.append((info.name, info.isdir(), None if impossible else place))
            rest = content[opened.offset :]
            if rest[:512].strip(b"\0"):
                return found, False
            # Another archive may follow the zeros at the end of the first one.
            blocks = [rest[i : i + 512] for i in range(0, len(rest), 512)]
            behind = next((i for i, block in enumerate(blocks) if block.strip(b"\0")), None)
            if behind is None:
                return found, True
            try:
                tarfile.TarInfo.frombuf(blocks[behind], "utf-8", "surrogateescape")
            except (tarfile.TarError, ValueError):
                return found, True
            file.seek(opened.offset + 512 * behind)
    except (tarfile.TarError, ValueError, OverflowError, EOFError):
        return found, False


def listed(path: Path) -> tuple[Listed, bool]:
    found: Listed = []
    try:
        for entry in tar_entries(str(path)):
            place = None if entry.place is None else (entry.place[0], entry.place[2])
            found.append((entry.name, entry.is_folder, place))
    except ImageError:
        return found, False
    return found, True


@given(content=archives())
def test_tarfile_lists_the_same(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tar"
    path.write_bytes(content)
    assert listed(path) == listed_by_tarfile(content)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mtime", [0, 1.25])
def test_usual_headers_are_not_left_to_tarfile(
    tmp_path: Path, format: Literal[0, 1, 2], mtime: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=format) as archive:
        for name in ["first.png", "a.png", f"{'b' * 90}/{'c' * 60}.png", "b.png"]:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 3, mtime
            archive.addfile(info, io.BytesIO(b"abc"))
    found, ended = listed(tmp_path / "a.tar")
    assert ended
    assert [name for name, _, _ in found][1::2] == ["a.png", "b.png"]
    calls = 0
    header = tarfile.TarInfo.frombuf

    def counting(*arguments: str) -> tarfile.TarInfo:
        nonlocal calls
        calls += 1
        return header(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tarfile.TarInfo, "frombuf", counting)
    assert listed(tmp_path / "a.tar") == (found, True)
    # The first file and the end; GNU has a header of its own for a long name.
    of_first = 2 if format == tarfile.PAX_FORMAT and mtime else 1
    assert calls <= of_first + 1 + 3 * (format == tarfile.GNU_FORMAT)


def test_a_file_of_which_bytes_are_missing_ends_the_list(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {f"{i}.png": bytes(2000) for i in range(4)})
    content = path.read_bytes()
    path.write_bytes(content[: 3 * 2560 + 512 + 1000])
    assert listed(path) == ([(f"{i}.png", False, (i * 2560 + 512, 2000)) for i in range(4)], False)
