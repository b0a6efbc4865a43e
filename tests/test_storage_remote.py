"""Paths with a scheme: their names, what is listed, sent and kept; and patterns of file names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Run, contents, fails, write_packed

import catclf
from catclf.errors import OutputError, SettingsError
from catclf.storage import location
from catclf.storage.location import (
    expanded,
    is_pattern,
    is_remote,
    locate,
    replacing,
    require_writable,
    same,
)
from catclf.text import printable, url_of

fsspec = pytest.importorskip("fsspec")


DENIED = PermissionError(13, "Access Denied")


# Names


def test_a_path_gets_its_slashes_back() -> None:
    for url in ("s3://bucket/a b", "file:///tmp/x", "memory://x", "https://host:1/a?b=/c"):
        assert url_of(url) == url_of(Path(url)) == url
        assert printable(Path(url)) == url.partition("?")[0]
    assert url_of(Path("s3://")) == "s3://"
    assert is_remote(Path("s3://"))
    assert url_of(Path("/tmp/a:/b")) == "/tmp/a:/b"
    assert not any(map(is_remote, ("a.png", "C:/x", "/s3://x", "a/b:/c")))
    assert url_of("HTTPS://Host/A") == url_of(Path("HTTPS://Host/A")) == "https://Host/A"


def test_what_is_on_disk_is_not_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "x").write_bytes(b"12")
    assert is_remote("memory://x")
    assert not is_remote("s3://x")
    assert locate("s3://x").size() == 2


def test_names_of_one_file_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    assert locate("a/*.tar").absolute == f"{tmp_path}/a/*.tar"
    assert locate(Path("memory://a/*.tar")).absolute == "memory://a/*.tar"
    for one, other in (
        ("a", "link"),
        (f"file://{tmp_path}/a", "link"),
        (f"file://{tmp_path}/a/", f"file://{tmp_path}/link"),
        ("new/../b", f"file://{tmp_path}/b"),
        ("memory://a", "memory:///a/"),
    ):
        assert same(Path(one), Path(other))
        assert same(Path(other), Path(one))
    for one, other in (("a", "b"), ("a", "memory://a"), ("memory://a", "memory://b")):
        assert not same(Path(one), Path(other))


def test_names_with_several_schemes_are_refused() -> None:
    with pytest.raises(SettingsError, match="names with :: are not read or written"):
        locate("memory://in/a::b.npz").read()


def test_patterns_stand_for_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the shell and WebDataset write them."""
    monkeypatch.chdir(tmp_path)
    for name in ("a1.png", "a2.png", "b[1].png", "{1..3}"):
        (tmp_path / name).write_bytes(b"")
    assert expanded(["x{08..11}.tar"]) == [f"x{number:02d}.tar" for number in (8, 9, 10, 11)]
    assert expanded(["{1..2}-{0..1}"]) == ["1-0", "1-1", "2-0", "2-1"]
    assert expanded(["{3..1}"]) == []
    assert expanded(["a*.png", "none*"]) == ["a1.png", "a2.png", "none*"]
    assert expanded(["b[1].png", "{1..3}", "plain"]) == ["b[1].png", "{1..3}", "plain"]
    assert expanded(["a{1..2}.p?g"]) == ["a1.png", "a2.png"]
    with pytest.raises(SettingsError, match="stands for 1000000000000 names"):
        expanded(["{1..1000000}{1..1000000}"])
    names = ("b[1].png", "b[2].png", "a*", "{1..2}", "{a,b}", "plain")
    assert list(map(is_pattern, names)) == [False, True, True, True, False, False]


# What a store says


def test_a_folder_is_listed_and_files_are_removed(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (Path("memory://x"), Path(f"file://{tmp_path}")):
        for name in ("one", "two"):
            (tmp_path / "sent").write_bytes(b"1")
            locate(folder / "a" / name).send(tmp_path / "sent")
        assert locate(folder / "a").names() == ["one", "two"]
        locate(folder / "a" / "one").remove()
        assert locate(folder / "a").names() == ["two"]
        assert locate(folder / "none").names() == []
        locate(folder / "a" / "one").remove()  # is not there
    locate(tmp_path / "a" / "two").remove()
    assert locate(tmp_path / "a").names() == locate(tmp_path / "none").names() == []
    # An empty object of S3 that the console makes for a folder.
    listed = ["/x/a/", "/x/a/two", "/x/a/a"]
    monkeypatch.setattr(type(store), "ls", lambda self, path, detail: listed)
    assert locate("memory://x/a").names() == ["a", "two"]


def test_versions_are_those_of_the_file_however_the_store_tells_of_it(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts: dict[str, Any] = {"name": "/in/a", "size": 3, "type": "file"}
    monkeypatch.setattr(type(store), "info", lambda *_: facts)
    facts |= {"ETag": "1", "LastModified": "then"}
    first = locate("memory://in/a").version()
    facts |= {"Key": "in/a", "LastModified": "then+00:00", "StorageClass": "STANDARD"}
    assert locate("memory://in/a").version() == first
    facts["ETag"] = "2"
    assert locate("memory://in/a").version() != first


def test_a_server_that_does_not_say_how_much_it_sends_is_heard_up_to_the_limit(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pipe_file("/in/a", b"12345")
    monkeypatch.setattr(type(store), "info", lambda *_: {"type": "file", "size": None})
    assert locate("memory://in/a").read(5) == b"12345"
    with pytest.raises(OSError, match="is too large"):
        locate("memory://in/a").read(4)


@pytest.mark.parametrize(
    ("failure", "cause", "kind"),
    [
        (ValueError, None, OSError),
        (OSError, None, OSError),
        (PermissionError, None, PermissionError),
        (FileNotFoundError, ConnectionRefusedError, OSError),
        (FileNotFoundError, ValueError, FileNotFoundError),
    ],
)
def test_what_a_store_says_holds_no_secrets(
    store: Any, monkeypatch: pytest.MonkeyPatch, failure: Any, cause: Any, kind: Any
) -> None:
    said = "no: https://u:secret@host/a.zip?X-Amz-Signature=secret url='gs://b/a?sig=secret'"

    def fail(*_: object, **__: object) -> None:
        raise failure(said) from cause and cause(said)

    monkeypatch.setattr(type(store), "info", fail)
    with pytest.raises(kind) as caught:
        locate("memory://u:secret@a/x.zip").version()
    assert "secret" not in str(caught.value)
    if kind is not FileNotFoundError:
        assert caught.value.strerror == "no: https://host/a.zip url='gs://b/a'"


def test_a_scheme_that_cannot_be_read_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catclf.save(catclf.Model(np.zeros((12288, 1)), 0.0), tmp_path / "model.npz")
    for args in (
        ["train", "--data", "nope://x/packed"],
        ["predict", "nope://x/a.tar"],
        ["data", "pack", ROOT / "data" / "train.h5", "-o", "nope://x/packed/"],
        ["data", "split", ROOT / "data" / "train.h5", "-o", "nope://x/a.h5"],
    ):
        run(*args).refused("catclf: nope://x/", "-m pip install s3fs, or gcsfs or aiohttp")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(SettingsError, match=r"need fsspec: .* -m pip install 'distributed>"):
        locate("s3://bucket/x").is_file()


def test_paths_without_a_scheme_load_no_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys, catclf\n"
        f"catclf.open_dataset({str(write_packed(tmp_path, 300, 4, 128))!r}).fingerprint\n"
        "from catclf.images.inputs import read_inputs\n"
        "list(read_inputs(['a.png', '.']))\n"
        "print({'fsspec', 'dask', 'distributed', 'tempfile'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


# Outputs


def test_files_are_replaced_wholly_or_not_at_all(tmp_path: Path) -> None:
    url = Path(f"file://{tmp_path}/new/out.tsv")
    with replacing(url) as file:
        file.write(b"one")
    with pytest.raises(ZeroDivisionError), replacing(url) as file:
        file.write(b"two" * (1 // 0))
    assert contents(tmp_path / "new") == {"out.tsv": b"one"}
    (tmp_path / "file").write_bytes(b"")
    inside = Path(f"file://{tmp_path}/file/out.tsv")
    with pytest.raises(OutputError, match="cannot be written"), replacing(inside, kept=False):
        pass


def test_unsent_files_are_kept(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = Path("memory://models/cats.npz")
    temporary, gone = tmp_path / "tmp", tmp_path / "gone"
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for folder in (temporary, gone):
        folder.mkdir()

    def write_dear() -> None:
        with replacing(url) as file:
            file.write(b"dear")

    monkeypatch.setattr(type(store), "put_file", fails(DENIED))
    with pytest.raises(OutputError) as refused:
        write_dear()
    text, _, kept = str(refused.value).partition(" as ")
    assert text == f"{printable(url)}: cannot be written: access denied; the file is kept"
    assert Path(kept).parent == tmp_path
    assert Path(kept).read_bytes() == b"dear"
    monkeypatch.setattr(type(store), "put_file", fails(KeyboardInterrupt()))
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(KeyboardInterrupt) as stopped:
        write_dear()
    [kept_there] = temporary.iterdir()
    note = f"memory://models/cats.npz was not sent; the file is kept as {kept_there}"
    assert stopped.value.__notes__ == [note]
    with pytest.raises(ZeroDivisionError), replacing(url):
        _ = 1 // 0
    assert contents(temporary) == {kept_there.name: b"dear"}


def test_a_store_is_tried_before_the_work(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_writable(Path("memory://new/cats.npz"))
    assert store.find("/") == []
    require_writable(Path(f"file://{tmp_path}/new/cats.npz"))
    assert list(tmp_path.iterdir()) == []
    store.pipe_file("/folder/x", b"")
    (tmp_path / "x").touch()
    for path, why in (
        ("memory://folder", "cannot be written: is a bucket or a folder"),
        ("https://example.org/x.npz", "cannot be written: the web is for reading"),
        (f"file://{tmp_path}/x/cats.npz", "cannot be written: not a directory"),
        ("memory://", "cannot be written: is a bucket or a folder"),
        ("memory://folder/x", "is another file of this run"),
    ):
        with pytest.raises(OutputError) as refused:
            require_writable(Path(path), [Path("memory:///folder/x")])
        assert str(refused.value).startswith(f"{path}: {why}")
    with pytest.raises(SettingsError, match=r"^nope://x/y: fsspec cannot open that: "):
        require_writable(Path("nope://x/y"))
    location._try_folder.cache_clear()
    monkeypatch.setattr(type(store), "pipe_file", fails(DENIED))
    with pytest.raises(OutputError, match=r"^memory://new/cats\.npz: cannot be written: access"):
        require_writable(Path("memory://new/cats.npz"))
