"""Models and outputs in stores: read and written as on disk, or refused before the work."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from archive_files import image_bytes, tar
from conftest import ROOT, Run

import catclf
from catclf.cli.predict import Scoring, score
from catclf.cli.records import Shard, pending
from catclf.cli.usage import read_config
from catclf.cluster import parse
from catclf.errors import InputError, ModelError, OutputError, SettingsError
from catclf.images.inputs import read_inputs
from catclf.images.preprocess import Preprocess
from catclf.model import file as model_file
from catclf.model.file import load_signed
from catclf.storage import location
from catclf.storage.files import replacing, require_writable
from catclf.training import Settings
from catclf.training.checkpoint import Checkpoints, beside
from catclf.training.objective import Point
from catclf.training.solvers import Curve, State

fsspec = pytest.importorskip("fsspec")
CAT = ROOT / "data" / "examples" / "cat.png"


def made() -> catclf.Model:
    w = np.random.default_rng(0).normal(size=(3072, 1))
    return catclf.Model(w, 0.1, preprocess=Preprocess(32))


def fails(error: BaseException) -> Any:
    """A function that does nothing but raise."""

    def failing(*args: object, **options: object) -> NoReturn:
        raise error

    return failing


def test_a_model_is_read_from_a_store_within_its_limit(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("here.npz", "memory://models/cats.npz"):
        catclf.save(made(), path)
    content = Path("here.npz").read_bytes()
    assert store.cat("/models/cats.npz") == content
    model, digest = load_signed(Path("memory://models/cats.npz"))
    assert model.fingerprint == made().fingerprint
    assert digest == load_signed("here.npz")[1]
    [there] = catclf.predict([CAT], "memory://models/cats.npz")
    [here] = catclf.predict([CAT], "here.npz")
    assert there == here
    [image] = catclf.predict(["memory://cat.png"], "memory://models/cats.npz")
    assert str(image.error).startswith("names in lists are read from disk alone")
    store.pipe_file("/photos/cat.png", CAT.read_bytes())
    [image] = catclf.predict("memory://photos", "memory://models/cats.npz")
    assert (Path(image.path).name, image.z) == ("cat.png", here.z)
    for path, why in (
        ("memory://none.npz", "there is no such file: train one first"),
        ("memory://models", "is not a regular file"),
    ):
        with pytest.raises(ModelError, match=rf"^{path}: {why}"):
            catclf.load(path)
    with pytest.raises(SettingsError, match=r"^nope://a: fsspec cannot open that: "):
        catclf.load("nope://a")
    # A server that does not say how much it sends is listened to up to the limit.
    monkeypatch.setattr(type(store), "info", lambda *_: {"type": "file", "size": None})
    assert location.locate("memory://models/cats.npz").read(len(content)) == content
    with pytest.raises(OSError, match="is too large"):
        location.locate("memory://models/cats.npz").read(len(content) - 1)
    monkeypatch.undo()
    monkeypatch.setattr(model_file, "FILE_LIMIT", len(content) - 1)
    monkeypatch.setattr(type(store), "cat_file", fails(AssertionError()))
    with pytest.raises(ModelError, match=r"^memory://models/cats\.npz: is too large: "):
        catclf.load("memory://models/cats.npz")


def test_a_worker_reads_the_model_of_a_store_once(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catclf.save(made(), "memory://m.npz")
    fetched, whole = list[str](), type(store).open

    def counted(self: Any, path: str, mode: str, **options: Any) -> Any:
        fetched.extend([path] if mode == "rb" else [])
        return whole(self, path, mode, **options)

    monkeypatch.setattr(type(store), "open", counted)
    job = Scoring((Path("memory://m.npz"),), quiet=True, in_folder=True, on_worker=True)
    rest = str(Path.cwd()), (load_signed(job.models[0])[1],)
    for name in ("a", "b"):
        shard: Shard = [str(CAT)], Path(f"memory://scores/{name}.tsv")
        assert score(job, shard, *rest)[0].done == 1
    assert fetched == ["/m.npz"] * 2  # by the program, and by the worker
    assert store.cat("/scores/a.tsv") == store.cat("/scores/b.tsv")
    # Nor is an image that is found in a folder replaced.
    store.put(str(CAT), "/photos/cat.png")
    with pytest.raises(
        OutputError, match=r"^memory://photos/cat\.png: is an image that catclf did not make"
    ):
        score(job, (["memory://photos"], Path("memory://photos/cat.png")), *rest)
    # What a worker cannot send is made again by another, and not kept where nobody looks.
    monkeypatch.setattr(type(store), "put_file", fails(OSError(5, "no")))
    with pytest.raises(OutputError, match=r"^memory://scores/c\.tsv: cannot be written: no$"):
        score(job, ([str(CAT)], Path("memory://scores/c.tsv")), *rest)
    assert os.listdir() == []  # noqa: PTH208


def test_a_checkpoint_of_a_store_is_gone_on_from(store: Any) -> None:
    path = beside(Path("memory://runs/cats.npz"))
    assert not Checkpoints(path, resume=True).exists()
    state = State(Point(np.arange(3.0)[:, None], 0.5), 7, Curve([0, 7], [0.7, 0.6]))
    Checkpoints(path, every=7).save(state)
    assert store.ls("/runs", detail=False) == ["/runs/cats.npz.checkpoint"]
    checkpoints = Checkpoints(path, resume=True)
    found = checkpoints.begin({}, State(Point(np.zeros((3, 1)), 0.0)))
    assert (found.step, found.point.b, found.curve.costs) == (7, 0.5, [0.7, 0.6])
    assert np.array_equal(found.point.coordinates, state.point.coordinates)
    checkpoints.remove()
    checkpoints.remove()
    assert store.find("/runs") == []


def test_what_cannot_be_sent_is_kept_on_disk(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    url = Path("memory://models/cats.npz")
    catclf.save(made(), "here.npz")
    monkeypatch.setattr(type(store), "put_file", fails(PermissionError(13, "Access Denied")))
    with pytest.raises(OutputError) as refused:
        catclf.save(made(), url)
    start = f"{url.parts[0]}//models/cats.npz: cannot be written: access denied; the file is kept"
    text, _, kept = str(refused.value).partition(" as ")
    assert text == start
    assert Path(kept).parent == tmp_path
    assert Path(kept).read_bytes() == (tmp_path / "here.npz").read_bytes()
    monkeypatch.setattr(type(store), "put_file", fails(KeyboardInterrupt()))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(KeyboardInterrupt) as stopped, replacing(url) as file:
        file.write(b"dear")
    [note] = stopped.value.__notes__
    assert note.startswith("memory://models/cats.npz was not sent; the file is kept as ")
    [kept_there] = (tmp_path / "tmp").iterdir()
    assert note.endswith(f" as {kept_there}")
    assert kept_there.read_bytes() == b"dear"
    with pytest.raises(ZeroDivisionError), replacing(url):
        _ = 1 // 0
    assert list((tmp_path / "tmp").iterdir()) == [kept_there]


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
    assert pending(["a.png"], Path("memory://"), ".tsv", None) == [
        (["a.png"], Path("memory:/a.png.tsv"))
    ]
    location._try_folder.cache_clear()
    monkeypatch.setattr(type(store), "pipe_file", fails(PermissionError(13, "Access Denied")))
    with pytest.raises(OutputError, match=r"^memory://new/cats\.npz: cannot be written: access"):
        require_writable(Path("memory://new/cats.npz"))


def test_paths_that_stay_on_disk_say_so_and_small_files_are_read(store: Any) -> None:
    with pytest.raises(SettingsError, match=r"^memory://a: `cache` keeps features on disk alone"):
        Settings(features="hog", cache=Path("memory://a"))
    with pytest.raises(InputError, match=r"^memory://list: lists are read from disk alone"):
        read_inputs(["@memory://list"])
    Path("list").write_text("memory://a.png\n")
    inputs = [each for each in read_inputs(["@list", "@memory://list"]) if isinstance(each, tuple)]
    assert [name for name, _ in inputs] == ["memory://a.png", "@memory://list"]
    for (_, why), what in zip(inputs, ("names in lists are", "lists are"), strict=True):
        assert f"{what} read from disk alone" in str(why)
    store.pipe_file("/run.toml", b"iterations = 5")
    assert read_config(Path("memory://run.toml")) == {"iterations": 5}
    store.pipe_file("/scheduler.json", b'{"address": "tcp://localhost:8786"}')
    assert parse("file:memory://scheduler.json").url == "tcp://localhost:8786"


def test_commands_take_urls_as_they_take_paths(run: Run, small_hdf5: Path, tmp_path: Path) -> None:
    train = ("train", "--data", "small.h5", "--iterations", "6", "--checkpoint-every", "2")
    url = f"file://{tmp_path}/store/cats.npz"
    assert run(*train, "-o", "cats.npz", "--plot", "cost.svg").code == 0
    shown = run(*train, "-o", url, "--plot", f"file://{tmp_path}/store/cost.svg")
    assert (shown.code, url in shown.stdout) == (0, True)
    names = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert names == ["cats.npz", "cost.svg"]
    for name in names:
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / name).read_bytes()
    (tmp_path / "cat.png").write_bytes(CAT.read_bytes())
    image = f"file://{tmp_path}/cat.png"
    there = {"MODEL": url, "IMAGE": image, "OUT": f"file://{tmp_path}/out"}
    here = {"MODEL": "cats.npz", "IMAGE": "cat.png", "OUT": "here"}
    for line in (
        "inspect MODEL --image OUT.png",
        "inspect MODEL --format json",
        "evaluate small.h5 -m MODEL",
        "explain IMAGE -m MODEL --image OUT.png",
        "export MODEL -o OUT.html",
        "report -m MODEL -o OUT.html",
        "predict cat.png -m MODEL -o OUT.tsv",
    ):
        got, expected = (run(*_named(line, names).split()) for names in (there, here))
        text = got.stdout
        for name in there:
            text = text.replace(there[name], here[name])
        assert (got.code, text, got.stderr) == (0, expected.stdout, expected.stderr)
        for path in tmp_path.glob("here.*"):
            assert path.with_stem("out").read_bytes() == path.read_bytes()
    for line, why in (
        (f"train --data small.h5 -o MODEL --log file://{tmp_path}/log", "is written on disk alone"),
        ("predict cat.png -m MODEL -o MODEL", "another kind of file is written"),
        ("predict cat.png -m cats.npz -o nope://x/a", "fsspec cannot open that"),
    ):
        refused = run(*_named(line, there).split())
        assert (refused.code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert refused.stderr.startswith(f"catclf: {_named(line, there).split()[-1]}: {why}")
    printed = run("train", "--print-config", "-o", url).stdout
    assert f'output = "{url}"\n' in printed
    assert not list(tmp_path.glob("*:*"))


def _named(line: str, names: dict[str, str]) -> str:
    for key, name in names.items():
        line = line.replace(key, name)
    return line


def test_no_output_takes_the_place_of_a_source_by_another_name(run: Run, tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    for data, kept in (
        ("packed", "packed/train-00000.h5"),
        ("a.tar", "a.tar"),
        ("p", "p/cat/0.png"),
    ):
        for source, output in ((f"{url}/{data}", kept), (data, f"{url}/{kept}")):
            if data == "p" and source != data:
                continue  # class folders are read from disk alone
            if not (tmp_path / data).exists():
                _write_sources(run, tmp_path)
            before = (tmp_path / kept).read_bytes()
            result = run(
                "train", "--data", source, "--size", "8", "--iterations", "2", "-o", output
            )
            assert result.code == 2, (source, output)
            assert re.search("give another output name|end it in .npz", result.stderr)
            assert (tmp_path / kept).read_bytes() == before


def _write_sources(run: Run, folder: Path) -> None:
    files = {f"p/{name}/{i}.png": image_bytes(i) for i, name in enumerate(["cat", "dog"] * 3)}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    tar(folder / "a.tar", files)
    assert run("data", "pack", "p", "--size", "8", "-o", "packed/").code == 0


def test_names_that_mean_something_else_are_refused(store: Any, run: Run, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="names with :: are not read or written"):
        location.locate("memory://in/a::b.npz").read()
    tar(tmp_path / "a.tar", {f"{n}/0.png": image_bytes(1) for n in ("cat", "dog")})
    for name in ("x.npz", "x.tar"):
        run("data", "pack", "a.tar", "-o", f"file://{tmp_path}/{name}").refused("end it in .h5")
