"""Writing wholly or not at all, the checks before a long run, and paths as one line of text."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from conftest import contents, fails, fill, in_python_without_powers

from catclf.errors import OutputError
from catclf.storage.location import replacing, replacing_path, require_writable
from catclf.text import printable, reason

OLD = {"out": b"old"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, failure: BaseException | None = None) -> None:
    """Write "new", or half of it before a failure."""
    with replacing(path) as file:
        if failure:
            file.write(b"n")
            raise failure
        file.write(b"new")


# Writing


@pytest.mark.parametrize("old", [OLD, {}])
def test_a_block_that_ends_well_puts_all_in_place(tmp_path: Path, old: dict[str, bytes]) -> None:
    path, new = fill(tmp_path, old) / "out", os.urandom(300_000)
    with replacing(path) as file:
        file.write(new[:1])
        file.write(new[1:])
        file.flush()
        assert not old or path.read_bytes() == b"old"
    assert contents(tmp_path) == {"out": new}


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("old", [OLD, {}])
def test_a_failing_block_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, failure: type[BaseException], old: dict[str, bytes]
) -> None:
    path = fill(tmp_path, old) / "out"
    with pytest.raises(failure):
        write(path, failure())
    with pytest.raises(OutputError, match="out: cannot be written: no space left"):
        write(path, OSError(errno.ENOSPC, "No space left"))
    assert contents(tmp_path) == old


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_disk_that_fails_at_the_end_is_an_output_error_and_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    path = fill(tmp_path, OLD) / "out"
    with monkeypatch.context() as patch:
        patch.setattr(step, fails(OSError(code, os.strerror(code))))
        with pytest.raises(OutputError, match="out: cannot be written: ") as caught:
            write(path)
    assert os.strerror(code).lower() in str(caught.value)
    assert contents(tmp_path) == OLD


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
@pytest.mark.parametrize("linked", [False, True])
def test_who_read_the_old_file_can_read_the_new(tmp_path: Path, mode: int, linked: bool) -> None:
    target = tmp_path / "target"
    target.touch()
    target.chmod(mode)
    (tmp_path / "link").symlink_to(target)
    with replacing_path(tmp_path / "link" if linked else target) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) & ~mode & 0o077 == 0
        temporary.write_bytes(b"new")
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"new", mode)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_mode_follows_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "out")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("old", [{"target": b"old"}, {}])
def test_a_link_is_kept_and_its_target_replaced(tmp_path: Path, old: dict[str, bytes]) -> None:
    (tmp_path / "far").mkdir()
    fill(tmp_path / "far", old)
    link = tmp_path / "link"
    link.symlink_to("far/target")
    require_writable(link)
    write(link)
    assert link.is_symlink()
    assert names(tmp_path) == ["far", "link"]
    assert contents(tmp_path / "far") == {"target": b"new"}


@pytest.mark.parametrize(
    "name",
    ["n" * 255, "no-ending", "-o", "sp ace", "line\nbreak", "[b]", "ä€😀", os.fsdecode(b"\xff")],
)
def test_any_name_that_the_system_allows_is_written_exactly(tmp_path: Path, name: str) -> None:
    require_writable(tmp_path / name)
    write(tmp_path / name)
    assert contents(tmp_path) == {name: b"new"}


def test_a_relative_name_is_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path)
    require_writable(Path("out"))
    with replacing(Path("out")) as file:
        file.write(b"new")
        monkeypatch.chdir(tmp_path / "b")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert names(tmp_path / "b") == []


# What cannot be written, and is said before the work


def test_a_writable_place_is_accepted_and_left_as_it_was(tmp_path: Path) -> None:
    old = fill(tmp_path, OLD) / "out"
    before = old.stat().st_mtime_ns
    require_writable(old, [tmp_path / "other", tmp_path / ("n" * 300), tmp_path / "a" / "b"])
    require_writable(tmp_path / "new.npz")
    assert (contents(tmp_path), old.stat().st_mtime_ns) == (OLD, before)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("folder", "is a folder"),
        ("folder/..", "is a folder|is not a file name"),
        ("missing/out", "missing does not exist"),
        ("file/out", "not a directory"),
        ("pipe", "is not a regular file"),
        ("socket", "is not a regular file"),
        ("link-to-pipe", "is not a regular file"),
        ("link-to-nowhere", "nowhere does not exist"),
        ("loop", "too many levels of symbolic links"),
        ("n" * 256, "file name too long"),
        ("missing\n/out", r"missing\\n does not exist"),
        *((f"/dev/{name}", "is not a regular file") for name in ("null", "zero", "full")),
    ],
)
def test_a_place_for_no_file_is_refused_and_stays(tmp_path: Path, name: str, why: str) -> None:
    fill(tmp_path, {"file": b"content", "folder/inner": b""})
    os.mkfifo(tmp_path / "pipe")
    for link, target in (("to-pipe", "pipe"), ("to-nowhere", "nowhere/out")):
        (tmp_path / f"link-{link}").symlink_to(target)
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        # The address of a socket is short, and tmp_path may be long.
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    before = names(tmp_path)
    with pytest.raises(OutputError, match=why) as caught:
        require_writable(tmp_path / name)
    assert str(caught.value).isprintable()
    assert printable(tmp_path / name) in str(caught.value)
    with pytest.raises(OutputError):
        write(tmp_path / name)
    assert names(tmp_path) == before
    assert names(tmp_path / "folder") == ["inner"]
    assert (tmp_path / "file").read_bytes() == b"content"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("-", "is not a place for a file: leave the option out for stdout"),
        *((name, "is not a file name") for name in ("", ".", "/")),
    ],
)
def test_a_name_that_is_none_of_a_file_is_refused(name: str, why: str) -> None:
    with pytest.raises(OutputError, match=why):
        require_writable(Path(name))


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a /dev/shm to write in")
def test_shared_memory_is_a_place_for_files() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        require_writable(Path(folder) / "m.npz")
        write(Path(folder) / "m.npz")
        assert contents(Path(folder)) == {"m.npz": b"new"}
    require_writable(Path(f"/dev/shm/catclf-{os.getpid()}.npz"))


@pytest.mark.parametrize("output", ["data.h5", "x/../data.h5", "hard link", "link", "x/../new"])
@pytest.mark.parametrize("linked", [False, True])
def test_an_input_of_the_run_is_never_the_output(tmp_path: Path, output: str, linked: bool) -> None:
    (tmp_path / "x").mkdir()
    data = fill(tmp_path, {"data.h5": b"precious"}) / "data.h5"
    (tmp_path / "hard link").hardlink_to(data)
    (tmp_path / "link").symlink_to("data.h5")
    taken = tmp_path / "new" if output.endswith("new") else data  # that is not there yet
    if linked:
        (tmp_path / "source").symlink_to(taken)
        taken = tmp_path / "source"
    with pytest.raises(OutputError, match="of this run"):
        require_writable(tmp_path / output, [tmp_path / "missing.h5", taken])
    assert data.read_bytes() == b"precious"


WRITE_THERE = """
import sys
from pathlib import Path
from catclf.errors import OutputError
from catclf.storage.location import replacing, require_writable

for path in map(Path, sys.argv[1:]):
    for put in (require_writable, lambda path: replacing(path).__enter__()):
        try:
            put(path)
        except OutputError as error:
            print(error)
"""


def test_a_read_only_folder_is_refused_and_stays(tmp_path: Path) -> None:
    folder = fill(tmp_path, {"f/out": b"old"}) / "f"
    folder.chmod(0o555)
    lines = in_python_without_powers(WRITE_THERE, folder / "out", folder / "new").splitlines()
    assert len(lines) == 4
    assert all("cannot be written: permission denied" in line for line in lines)
    assert contents(folder) == OLD


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_in_which_no_file_can_be_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("os.open", fails(OSError(code, os.strerror(code))))
    with pytest.raises(OutputError, match=os.strerror(code).lower()):
        require_writable(tmp_path / "out")


# Words


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("cat.jpg", "cat.jpg"),
        ("Käse 猫 😀.jpg", "Käse 猫 😀.jpg"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("null\0", "null\\x00"),
        ("line\u2028end\x85", "line\\u2028end\\x85"),
        ("right\u202eleft", "right\\u202eleft"),
        (os.fsdecode(b"latin-\xe9.jpg"), "latin-\\xe9.jpg"),
        ("lone \ud800", "lone \\ud800"),
        (Path("dir") / "x\ny", "dir/x\\ny"),
    ],
)
def test_a_path_is_shown_as_one_line_of_text(path: str | Path, shown: str) -> None:
    assert printable(path) == shown


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/some/file"), "no space left on device"),
        (OSError("Odd text"), "odd text"),
        (OSError(), "oserror"),
    ],
)
def test_the_reason_of_an_error_is_its_words_alone(error: OSError, words: str) -> None:
    assert reason(error) == words
