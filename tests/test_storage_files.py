"""Writing wholly or not at all, the checks before a long run, and paths as one line of text."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from catclf.errors import OutputError
from catclf.storage.files import replacing, replacing_path, require_writable
from catclf.text import printable, reason


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path: Path, failure: BaseException) -> None:
    with replacing(path) as file:
        file.write(b"half")
        raise failure


def write(path: Path, content: bytes = b"new") -> None:
    with replacing(path) as file:
        file.write(content)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to pass over permissions; a normal user stays who he is."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that may be entered and read but not written, outside of pytest's private ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "old.npz").write_bytes(b"old")
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize("old", [b"old", None])
def test_a_block_that_ends_well_puts_all_of_the_new_content_in_place(
    tmp_path: Path, old: bytes | None
) -> None:
    path = tmp_path / "out"
    if old is not None:
        path.write_bytes(old)
    new = os.urandom(300_000)
    with replacing(path) as file:
        file.write(new[:1])
        file.write(new[1:])
    assert path.read_bytes() == new
    assert names(tmp_path) == ["out"]


def test_the_old_content_stays_readable_while_the_block_runs(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_failing_block_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, failure: type[BaseException], old: bytes | None
) -> None:
    path = tmp_path / "out"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(failure):
        write_half(path, failure())
    with pytest.raises(OutputError, match="out: cannot be written: no space left"):
        write_half(path, OSError(errno.ENOSPC, "No space left"))
    assert names(tmp_path) == ([] if old is None else ["out"])
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_disk_that_fails_at_the_end_is_an_output_error_and_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(step, fail)
    with pytest.raises(OutputError, match="out: cannot be written: ") as caught:
        write(path)
    monkeypatch.undo()
    assert os.strerror(code).lower() in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


def test_a_real_file_size_limit_is_an_output_error_and_keeps_the_old_content(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from catclf.errors import OutputError\n"
        "from catclf.storage.files import replacing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    with replacing(Path(sys.argv[1])) as file:\n"
        "        file.write(bytes(10_000))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    # Without -B the limit would also cut compiled modules short.
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, path], capture_output=True, text=True, timeout=180
    )
    assert done.stdout.startswith(f"{path}: cannot be written: file too large"), done
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
@pytest.mark.parametrize("linked", [False, True])
def test_who_could_read_what_is_replaced_can_read_the_new_file(
    tmp_path: Path, mode: int, linked: bool
) -> None:
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
        with replacing(tmp_path / "out"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_kept_and_its_target_replaced(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to("far/target")
    require_writable(link)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["far", "link"]
    assert names(tmp_path / "far") == ["target"]


@pytest.mark.parametrize(
    "name",
    ["n" * 255, "no-ending", "-o", "sp ace", "line\nbreak", "[b]", "ä€😀", os.fsdecode(b"\xff")],
)
def test_any_name_that_the_system_allows_is_written_exactly(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    require_writable(path)
    with replacing(path) as file:
        file.write(b"new")
    assert names(tmp_path) == [name]
    assert path.read_bytes() == b"new"


def test_a_relative_name_means_the_folder_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    require_writable(Path("out"))
    with replacing(Path("out")) as file:
        file.write(b"new")
        monkeypatch.chdir(tmp_path / "b")
    assert (tmp_path / "a" / "out").read_bytes() == b"new"
    assert names(tmp_path / "b") == []


def test_replacing_in_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="out: cannot be written: no such file"):
        write(tmp_path / "missing" / "out")
    assert names(tmp_path) == []


def test_replacing_a_folder_is_an_output_error_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "out" / "inner").mkdir(parents=True)
    with pytest.raises(OutputError, match="out: "):
        write(tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["inner"]


def test_replacing_a_pipe_is_an_output_error_and_leaves_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out")
    with pytest.raises(OutputError, match="out: "):
        write(tmp_path / "out")
    assert stat.S_ISFIFO((tmp_path / "out").stat().st_mode)
    assert names(tmp_path) == ["out"]


def test_replacing_in_a_read_only_folder_is_an_output_error(read_only: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: permission denied"), as_nobody():
        write(read_only / "old.npz")
    assert names(read_only) == ["old.npz"]
    assert (read_only / "old.npz").read_bytes() == b"old"


def test_a_writable_place_is_accepted_and_left_as_it_was(tmp_path: Path) -> None:
    old = tmp_path / "old.npz"
    old.write_bytes(b"old")
    before = old.stat()
    require_writable(old, [tmp_path / "other", tmp_path / ("n" * 300), tmp_path / "a" / "b"])
    require_writable(tmp_path / "new.npz")
    assert old.read_bytes() == b"old"
    assert old.stat().st_mtime_ns == before.st_mtime_ns
    assert names(tmp_path) == ["old.npz"]


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
    ],
)
def test_a_place_that_cannot_become_a_file_is_refused_in_one_line(
    tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"content")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link-to-pipe").symlink_to("pipe")
    (tmp_path / "link-to-nowhere").symlink_to("nowhere/out")
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
    assert names(tmp_path) == before
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/full"])
def test_a_device_is_refused_and_survives(device: str) -> None:
    with pytest.raises(OutputError, match=f"{device}: is not a regular file"):
        require_writable(Path(device))
    assert stat.S_ISCHR(Path(device).stat().st_mode)


@pytest.mark.parametrize(
    "name", ["/proc/none/m.npz", "/dev/none", "/dev/shm/../none", "/dev/./m.npz", "/proc/m.npz"]
)
def test_no_file_is_made_among_devices_and_processes(name: str) -> None:
    with pytest.raises(OutputError, match="is not a place for a file"):
        require_writable(Path(name))


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a /dev/shm to write in")
def test_shared_memory_is_a_place_for_files() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        require_writable(Path(folder) / "m.npz")
        write(Path(folder) / "m.npz")
        assert names(Path(folder)) == ["m.npz"]
    require_writable(Path(f"/dev/shm/catclf-{os.getpid()}.npz"))


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_path_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(OutputError, match="is not a file name"):
        require_writable(Path(name))


@pytest.mark.parametrize("way", ["same", "dotted", "hard link", "link", "the input is a link"])
def test_an_input_of_the_run_is_never_the_output(tmp_path: Path, way: str) -> None:
    data, output = tmp_path / "data.h5", tmp_path / "output"
    data.write_bytes(b"precious")
    source = data
    match way:
        case "same":
            output = data
        case "dotted":
            (tmp_path / "x").mkdir()
            output = tmp_path / "x" / ".." / "data.h5"
        case "hard link":
            output.hardlink_to(data)
        case "link":
            output.symlink_to(data)
        case _:
            source, output = tmp_path / "source", data
            source.symlink_to(data)
    with pytest.raises(OutputError, match="of this run"):
        require_writable(output, [tmp_path / "missing.h5", source])
    assert data.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["log", "x/../log", "link"])
def test_two_outputs_of_the_run_are_never_one_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("log")
    with pytest.raises(OutputError, match="of this run"):
        require_writable(tmp_path / "log", [tmp_path / name])
    assert names(tmp_path) == ["link", "x"]


@pytest.mark.parametrize("name", ["old.npz", "new.npz"])
def test_a_read_only_folder_is_refused_before_the_work(read_only: Path, name: str) -> None:
    with pytest.raises(OutputError, match="cannot be written: permission denied"), as_nobody():
        require_writable(read_only / name)
    assert names(read_only) == ["old.npz"]


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_in_which_no_file_can_be_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: Any) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.open", fail)
    with pytest.raises(OutputError, match=os.strerror(code).lower()):
        require_writable(tmp_path / "out")


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
def test_the_reason_of_an_error_is_its_words_without_number_and_name(
    error: OSError, words: str
) -> None:
    assert reason(error) == words
