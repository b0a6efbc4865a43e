"""Paths with a scheme: packed folders and images in a store, outputs put there; one line else."""

from __future__ import annotations

import gc
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Run, write_packed

import catclf
from catclf.cli.predict import Scoring, ScoringRun
from catclf.cli.records import Tally, named, pending
from catclf.cli.shell import Signals
from catclf.datasets import open_dataset, stores_pixels
from catclf.errors import DataError, OutputError, SettingsError
from catclf.images.archive import Unreadable
from catclf.images.inputs import read_inputs
from catclf.images.preprocess import Preprocess
from catclf.storage import files
from catclf.storage.location import expanded, is_pattern, is_remote, locate, same
from catclf.text import printable, url_of
from catclf.training import Settings

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """300 images of 4x4 in three shards."""
    return write_packed(tmp_path, 300, 4, 128)


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


def test_a_packed_folder_in_a_store_trains_to_the_bytes_of_one_on_disk(
    store: Any, packed: Path, tmp_path: Path
) -> None:
    store.put(str(packed), "/packed", recursive=True)
    path, settings = Path("memory://packed"), Settings(iterations=5, method="stream")
    assert stores_pixels(path)
    data = open_dataset(path)
    before = copies()
    for each, name in ((data, "remote.npz"), (open_dataset(packed), "here.npz")):
        catclf.save(catclf.train(each, settings), tmp_path / name)
    assert (tmp_path / "remote.npz").read_bytes() == (tmp_path / "here.npz").read_bytes()
    assert len(copies() - before) == 3
    del data, each
    gc.collect()
    assert copies() == before


def copies() -> set[Path]:
    import tempfile

    return set(Path(tempfile.gettempdir()).glob("catclf-*.h5"))


def test_a_damaged_or_missing_shard_in_a_store_is_one_line(store: Any, packed: Path) -> None:
    store.put(str(packed), "/packed", recursive=True)
    shard = store.store["/packed/train-00001.h5"]
    shard.seek(3000)
    shard.write(b"x")
    data = open_dataset("memory://packed")
    with pytest.raises(DataError, match=r"^memory://packed/train-00001\.h5: is not the shard "):
        catclf.train(data, Settings(iterations=1, method="stream"))
    store.rm("/packed/train-00001.h5")
    with pytest.raises(DataError, match=r"^memory://packed/train-00001\.h5: the shard is missing"):
        open_dataset("memory://packed")
    with pytest.raises(DataError, match=r"^memory://nothing: there is no such file or folder"):
        open_dataset("memory://nothing")


def scored(names: list[str], output: Path, *, recursive: bool = False) -> Tally:
    """Score what a store holds, each in an output of its own."""
    job = Scoring((Path("model.npz"),), recursive=recursive, in_folder=True)
    with Signals() as signals:
        shards = pending(named(names), output, job.ending, None)
        run = ScoringRun(job, shards, signals.pause, lambda line: None)
        run.start()
    return run.tally


def test_images_and_outputs_of_a_store(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    w = np.random.default_rng(0).normal(size=(3072, 1))
    catclf.save(catclf.Model(w, 0.1, preprocess=Preprocess(32)), "model.npz")
    examples = ROOT / "data" / "examples"
    for number in range(2):
        with tarfile.open(f"{number}.tar", "w") as archive:
            for path in sorted(examples.glob("*.png")):
                archive.add(path, path.name)
        store.put(f"{number}.tar", f"/shards/{number}.tar")
    store.put(str(examples), "/photos", recursive=True)
    names = ["memory://shards/*.tar", "memory://photos", "memory://photos/cat.png", "memory://no"]
    tally = scored(names, Path("memory://scores"))
    assert (tally.done, tally.failed) == (3 + 3 + 3 + 1 + 1, 1)
    cat = store.cat("/scores/cat.png.tsv").decode()
    direct = next(iter(catclf.predict([examples / "cat.png"], catclf.load("model.npz"))))
    assert cat == f"memory://photos/cat.png\t{direct.label}\t{direct.probability!r}\n"
    [line, *_] = store.cat("/scores/1.tar.tsv").decode().splitlines()
    assert line == f"memory:///shards/1.tar:cat.png\t{direct.label}\t{direct.probability!r}"
    assert store.cat("/scores/no.tsv") == b"memory://no\t\t\n"
    Path("list").write_text("memory://photos/cat.png\n")
    scored(["@list"], Path("listed"))
    assert Path("listed/list.tsv").read_bytes() == b"memory://photos/cat.png\t\t\n"
    store.pipe("/scores/no.tsv", b"kept")
    store.rm("/scores/no.tsv.failed")
    assert scored(names, Path("memory://scores")).done == 0
    assert not list(tmp_path.glob("memory:*"))


def test_rows_of_parquet_in_a_store_are_scored(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(tmp_path)
    w = np.random.default_rng(0).normal(size=(3072, 1))
    catclf.save(catclf.Model(w, 0.1, preprocess=Preprocess(32)), "model.npz")
    cat = ROOT / "data" / "examples" / "cat.png"
    images = [{"bytes": cat.read_bytes(), "path": "cat.png"}, {"bytes": b"no", "path": "b.png"}]
    parquet.write_table(pyarrow.table({"image": images}), "a.parquet")
    store.put("a.parquet", "/a.parquet")
    tally = scored(["memory://a.parquet"], Path("scores"))
    assert (tally.done, tally.failed) == (2, 1)
    [one, other] = Path("scores/a.parquet.tsv").read_text().splitlines()
    direct = next(iter(catclf.predict([cat], catclf.load("model.npz"))))
    assert one == f"memory://a.parquet:cat.png\t{direct.label}\t{direct.probability!r}"
    assert other == "memory://a.parquet:b.png\t\t"
    large, small = read_inputs(["memory://a.parquet"], limit=10)
    assert str(small) == "memory://a.parquet:b.png"
    assert isinstance(large, Unreadable)
    assert (str(large), large.failure.kind) == ("memory://a.parquet:cat.png", "too-large")


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


def test_files_are_replaced_wholly_or_not_at_all(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/new/out.tsv"
    with files.replacing(Path(url)) as file:
        file.write(b"one")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.tsv"]
    with pytest.raises(ZeroDivisionError), files.replacing(Path(url)) as file:
        file.write(b"two" * (1 // 0))
    assert (tmp_path / "new" / "out.tsv").read_bytes() == b"one"
    (tmp_path / "file").write_bytes(b"")
    inside = Path(f"file://{tmp_path}/file/out.tsv")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        files.replacing(inside, kept=False),
    ):
        pass


def test_a_scheme_that_cannot_be_read_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for args in (
        ["train", "--data", "nope://x/packed"],
        ["predict", "nope://x/a.tar"],
        ["data", "pack", ROOT / "data" / "train.h5", "-o", "nope://x/packed/"],
        ["data", "split", ROOT / "data" / "train.h5", "-o", "nope://x/a.h5"],
    ):
        catclf.save(catclf.Model(np.zeros((12288, 1)), 0.0), tmp_path / "model.npz")
        result = run(*args)
        assert (result.code, result.stderr.count("\n")) == (2, 1)
        assert "catclf: nope://x/" in result.stderr
        assert "-m pip install s3fs, or gcsfs or aiohttp" in result.stderr
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(SettingsError, match=r"need fsspec: .* -m pip install 'distributed>"):
        locate("s3://bucket/x").is_file()


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


def test_paths_without_a_scheme_load_no_fsspec(packed: Path) -> None:
    code = (
        "import sys, catclf\n"
        f"catclf.open_dataset({str(packed)!r}).fingerprint\n"
        "from catclf.images.inputs import read_inputs\n"
        "list(read_inputs(['a.png', '.']))\n"
        "print({'fsspec', 'dask', 'distributed', 'tempfile'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


# Patterns of file names, as the shell and WebDataset write them


def test_patterns_stand_for_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_name_of_a_file_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b[1].png").write_bytes(b"")
    names = ("b[1].png", "b[2].png", "a*", "{1..2}", "{a,b}", "plain")
    assert list(map(is_pattern, names)) == [False, True, True, True, False, False]
