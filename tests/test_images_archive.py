"""Images in tar and zip archives: listed as by tarfile, read as files are, nothing unpacked."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from archive_files import WRITERS, add, deflated, image_bytes, stored, tar
from conftest import Run, fill
from hypothesis import given
from hypothesis import strategies as st

from catclf.errors import ImageError
from catclf.images.archive import Member, Unreadable, entries, is_archive, tar_entries
from catclf.images.decode import read
from catclf.images.preprocess import Limits, Preprocess
from catclf.images.tree import LeftOut, members
from catclf.maths import Pixels
from catclf.storage.location import locate

SMALL = Preprocess(8)
every_kind = pytest.mark.parametrize("kind", WRITERS)


def made(folder: Path, kind: str, files: dict[str, bytes]) -> Path:
    writer, name = WRITERS[kind]
    return writer(folder / name, files)


def listed(path: Path) -> tuple[list[Any], str]:
    """Members, or failures with their names; and what was left out."""
    left_out = LeftOut()
    return list(members(str(path), left_out)), str(left_out)


def only_member(path: Path) -> Member:
    [member] = listed(path)[0]
    assert isinstance(member, Member)
    return member


def failure(member: Any, limits: Limits | None = None) -> ImageError:
    """Why an image of an archive has no pixels."""
    with pytest.raises(ImageError) as caught:
        read(member, SMALL, limits)
    return caught.value


def changed(path: Path, at: int, *values: int) -> Path:
    """The file with other bytes at a place."""
    content = bytearray(path.read_bytes())
    content[at : at + len(values)] = bytes(values)
    path.write_bytes(content)
    return path


def pixels_of(folder: Path, content: bytes) -> Pixels:
    """What is read from a file with this content."""
    return read(fill(folder, {"plain.png": content}) / "plain.png", SMALL)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


# What is read


@every_kind
def test_other_files_are_counted_and_hidden_ones_passed_over(tmp_path: Path, kind: str) -> None:
    files = {"a.jpg": image_bytes(1, "JPEG"), "a.json": b"{}", "b.txt": b"", "__MACOSX/a.jpg": b"x"}
    path = made(tmp_path, kind, files | {".hidden/c.png": b"x"})
    assert listed(path) == ([f"{path}:a.jpg"], "left out 2 files: 1 .json, 1 .txt")


def test_links_and_devices_are_left_out_and_names_never_followed(tmp_path: Path) -> None:
    tarred, zipped = tmp_path / "a.tar", tmp_path / "a.zip"
    with tarfile.open(tarred, "w") as archive:
        for type in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            add(archive, f"{type.decode()}.png", type=type, linkname="/etc/passwd")
        add(archive, "/etc/a\nb.png", image_bytes(3))
    with zipfile.ZipFile(stored(zipped, {"/etc/a\nb.png": image_bytes(3)}), "a") as other:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        other.writestr(link, "/etc/passwd")
    for path, left_out in ((tarred, "3 files: 2 links, 1 device"), (zipped, "1 file: 1 link")):
        assert listed(path) == ([f"{path}:/etc/a\nb.png"], f"left out {left_out}")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_compressed_by_other_methods_are_read(tmp_path: Path, method: int) -> None:
    files = {"a.png": image_bytes(1), "bomb.png": bytes(5_000_000)}
    path = stored(tmp_path / "a.zip", files, method)
    member, bomb = listed(path)[0]
    np.testing.assert_array_equal(read(member, SMALL), pixels_of(tmp_path, image_bytes(1)))
    offset, size, _, checksum, kind = bomb.place
    lie = Member.shown("x", bomb.archive, (offset, size, 1000, checksum, kind))
    assert "bytes are missing or changed" in str(failure(lie))
    changed(path, member.place[0] + 30 + len("a.png") + 20, *bytes(20))
    assert failure(member).kind == "damaged"


@pytest.mark.parametrize(
    ("ending", "compress"),
    [
        *((ending, gzip.compress) for ending in ("tar.gz", "TGZ")),
        *((ending, bz2.compress) for ending in ("tar.bz2", "tbz2")),
        *((ending, lzma.compress) for ending in ("tar.xz", "txz")),
    ],
)
def test_a_tar_that_is_compressed_as_a_whole_is_unpacked_once(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes], temporary: Path
) -> None:
    files = {f"cat/{i}.png": image_bytes(i) for i in range(3)}
    packed = tmp_path / f"a.{ending}"
    packed.write_bytes(compress(tar(tmp_path / "a.tar", files).read_bytes()))
    found, _ = listed(packed)
    assert found == [f"{packed}:{name}" for name in files]
    assert len(list(temporary.iterdir())) == 1
    assert [entry.name for entry in entries(str(packed))] == list(files)
    for one, content in zip(found, files.values(), strict=True):
        expected = pixels_of(tmp_path, content)
        np.testing.assert_array_equal(read(one, SMALL), expected)
        unpickled = Member.of(str(packed), "x", one.place)  # as a data set lists it
        np.testing.assert_array_equal(read(unpickled, SMALL), expected)
    del found, one
    locate(packed).renew()
    assert len(list(temporary.iterdir())) == 1  # of the data set, until this process ends


def test_an_archive_put_behind_another_is_read(tmp_path: Path) -> None:
    parts = [tar(tmp_path / f"{name}.tar", {f"{name}.png": image_bytes(1)}) for name in "ab"]
    both = tmp_path / "both.tar"
    both.write_bytes(b"".join(path.read_bytes() for path in parts))
    found, _ = listed(both)
    assert found == [f"{both}:a.png", f"{both}:b.png"]
    assert [read(member, SMALL).shape for member in found] == [(8, 8, 3)] * 2


@pytest.mark.parametrize("name", ["кот", "gatitoñé", "plain"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp437", "flag", "field"])
def test_names_in_a_zip_are_those_that_were_given(tmp_path: Path, name: str, encoding: str) -> None:
    path, shown = tmp_path / "a.zip", f"{name}.png"
    if encoding == "cp437":
        shown = shown.encode("cp437", "replace").decode("cp437")
    raw = shown.encode("cp437" if encoding == "cp437" else "utf-8")
    info = zipfile.ZipInfo(shown if encoding == "flag" else "x" * len(raw))
    if encoding == "field":
        info.extra = struct.pack("<HHBI", 0x7075, 5 + len(raw), 1, 0) + raw
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, image_bytes(1))
    if encoding in ("utf-8", "cp437"):
        path.write_bytes(path.read_bytes().replace(b"x" * len(raw), raw))
    assert [entry.name for entry in entries(str(path))] == [shown]


def test_predict_scores_an_archive_as_its_folder(run: Run, model: Path, tmp_path: Path) -> None:
    files = {f"in/{i}.png": image_bytes(i) for i in range(12)}
    fill(tmp_path, files)
    tar(tmp_path / "a.tar", dict(sorted(files.items())) | {"in/x.cls": b"1"})
    folder = run("predict", "in", "--format", "csv").stdout
    result = run("predict", "a.tar", "--format", "csv")
    assert result.code == 0
    assert result.stdout.replace("a.tar:", "") == folder
    assert result.stderr == "catclf: left out 1 file: 1 .cls\n"
    (tmp_path / "list").write_text("a.tar\nin/3.png\n")
    assert run("predict", "@list").stdout.count("\n") == 13


# What is damaged, or lies


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_headers_without_end_are_one_failure(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 20
    header = info.tobuf(tarfile.GNU_FORMAT) + b"20 path=cat/aaaa.png\n"[:20].ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(header * 3000)
    [(_, error)], _ = listed(tmp_path / "a.tar")
    said = "header after header", "invalid header"  # the second is Python 3.13's
    assert any(each in str(error) for each in said)


def test_a_bomb_is_inflated_to_its_declared_size_alone(tmp_path: Path) -> None:
    path = deflated(tmp_path / "a.zip", {"bomb.png": bytes(50_000_000)})
    assert failure(only_member(path), Limits(file_bytes=1_000_000)).kind == "too-large"
    size = path.read_bytes().rindex(b"PK\1\2") + 24  # in the list of members
    changed(path, size, *(1000).to_bytes(4, "little"))
    assert failure(only_member(path), Limits(file_bytes=1_000_000)).kind == "damaged"


def test_what_becomes_far_larger_is_not_unpacked(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catclf.storage.location.UNPACKED_MIN", 1 << 20)
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    [found], _ = listed(tmp_path / "bomb.tar.gz")
    assert "is too large" in str(found[1])
    del found
    gc.collect()  # Python 3.13 keeps the failure, and what it holds, until then
    assert list(temporary.iterdir()) == []


def test_changed_bytes_of_a_zip_and_encrypted_members_are_noticed(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.zip", {"a.png": image_bytes(5)})
    whole = path.read_bytes()
    at = whole.index(image_bytes(5)) + 60
    changed(path, at, whole[at] ^ 1)
    assert "bytes are missing or changed" in str(failure(only_member(path)))
    flags = whole.rindex(b"PK\1\2") + 8
    changed(path, flags, whole[flags] | 1)
    found = only_member(path)
    assert isinstance(found, Unreadable)
    assert "encrypted" in str(found.failure)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.zip", b"PK\3\4 no zip", "not a zip archive"),
        ("a.tar", b"no tar" * 1000, "not a tar archive"),
        ("a.tar.gz", b"\x1f\x8b", "is damaged, or not compressed"),
        ("a.tgz", gzip.compress(b"no tar" * 1000, mtime=0), "not a tar archive"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd", "is packed with zstd: unpack it"),
        ("a.tar", gzip.compress(b"x", mtime=0), "it is packed with gzip"),
        ("a.zip", b"PK\5\6\2\0\0\0".ljust(22, b"\0"), "join them"),
        ("none.tar", None, "no such file"),
        ("pipe.tar", None, "is not a regular file"),
    ],
)
def test_what_is_no_archive_is_one_failure(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / name
    os.mkfifo(tmp_path / "pipe.tar")
    if content is not None:
        path.write_bytes(content)
    assert is_archive(str(path))
    [(shown, error)], _ = listed(path)
    assert shown == str(path)
    assert reason in str(error).lower()


# Any headers of a tar

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


def listed_by_us(path: Path) -> tuple[Listed, bool]:
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
    assert listed_by_us(path) == listed_by_tarfile(content)


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
    found, ended = listed_by_us(tmp_path / "a.tar")
    assert ended
    assert [name for name, _, _ in found][1::2] == ["a.png", "b.png"]
    calls = 0
    header = tarfile.TarInfo.frombuf

    def counting(*arguments: str) -> tarfile.TarInfo:
        nonlocal calls
        calls += 1
        return header(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tarfile.TarInfo, "frombuf", counting)
    assert listed_by_us(tmp_path / "a.tar") == (found, True)
    # The first file and the end; GNU has a header of its own for a long name.
    of_first = 2 if format == tarfile.PAX_FORMAT and mtime else 1
    assert calls <= of_first + 1 + 3 * (format == tarfile.GNU_FORMAT)


def test_a_file_of_which_bytes_are_missing_ends_the_list(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {f"{i}.png": bytes(2000) for i in range(4)})
    content = path.read_bytes()
    path.write_bytes(content[: 3 * 2560 + 512 + 1000])
    assert listed_by_us(path) == (
        [(f"{i}.png", False, (i * 2560 + 512, 2000)) for i in range(4)],
        False,
    )
