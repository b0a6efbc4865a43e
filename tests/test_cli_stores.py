"""Models, images and outputs in stores: read and written as on disk, or refused before the work."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_files import image_bytes, tar
from conftest import ROOT, Run, fails, fill

import catclf
from catclf.cli.predict import Scoring, ScoringRun, score
from catclf.cli.records import Shard, named, pending
from catclf.cli.shell import Pause
from catclf.cli.usage import read_config
from catclf.cluster import parse
from catclf.errors import InputError, ModelError, OutputError, SettingsError
from catclf.images.archive import Unreadable
from catclf.images.inputs import read_inputs
from catclf.images.preprocess import Preprocess
from catclf.model import file as model_file
from catclf.model.file import load_signed
from catclf.training import Settings
from catclf.training.checkpoint import Checkpoints, beside
from catclf.training.objective import Point
from catclf.training.solvers import Curve, State

fsspec = pytest.importorskip("fsspec")
EXAMPLES = ROOT / "data" / "examples"
CAT = EXAMPLES / "cat.png"


@pytest.fixture
def made(store: Any) -> catclf.Model:
    """A model, which is also in model.npz of the working folder."""
    w = np.random.default_rng(0).normal(size=(3072, 1))
    model = catclf.Model(w, 0.1, preprocess=Preprocess(32))
    catclf.save(model, "model.npz")
    return model


# Models


def test_a_model_is_read_from_a_store_within_its_limit(
    store: Any, made: catclf.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "memory://models/cats.npz"
    catclf.save(made, url)
    content = Path("model.npz").read_bytes()
    assert store.cat("/models/cats.npz") == content
    assert load_signed(Path(url))[1] == load_signed("model.npz")[1]
    assert catclf.load(url).fingerprint == made.fingerprint
    [here], [there] = (catclf.predict([CAT], path) for path in ("model.npz", url))
    assert there == here
    [image] = catclf.predict(["memory://cat.png"], url)
    assert str(image.error).startswith("names in lists are read from disk alone")
    store.pipe_file("/photos/cat.png", CAT.read_bytes())
    [image] = catclf.predict("memory://photos", url)
    assert (Path(image.path).name, image.z) == ("cat.png", here.z)
    for path, why in (
        ("memory://none.npz", "there is no such file: train one first"),
        ("memory://models", "is not a regular file"),
    ):
        with pytest.raises(ModelError, match=rf"^{path}: {why}"):
            catclf.load(path)
    with pytest.raises(SettingsError, match=r"^nope://a: fsspec cannot open that: "):
        catclf.load("nope://a")
    monkeypatch.setattr(model_file, "FILE_LIMIT", len(content) - 1)
    monkeypatch.setattr(type(store), "cat_file", fails(AssertionError()))
    with pytest.raises(ModelError, match=r"^memory://models/cats\.npz: is too large: "):
        catclf.load(url)


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


# Scores


def scored(names: list[str], output: str) -> tuple[int, int]:
    """Score what a store holds, each in an output of its own: how many were done, and failed."""
    job = Scoring((Path("model.npz"),), in_folder=True)
    shards = pending(named(names), Path(output), job.ending, None)
    run = ScoringRun(job, shards, Pause(), lambda line: None)
    run.start()
    return run.tally.done, run.tally.failed


def line_of(shown: str, image: Path) -> str:
    """The line of an image in an output."""
    [direct] = catclf.predict([image], catclf.load("model.npz"))
    return f"{shown}\t{direct.label}\t{direct.probability!r}\n"


def test_images_and_outputs_of_a_store(store: Any, made: catclf.Model, tmp_path: Path) -> None:
    images = {path.name: path.read_bytes() for path in sorted(EXAMPLES.glob("*.png"))}
    for number in range(2):
        store.put(str(tar(tmp_path / f"{number}.tar", images)), f"/shards/{number}.tar")
    store.put(str(EXAMPLES), "/photos", recursive=True)
    names = ["memory://shards/*.tar", "memory://photos", "memory://photos/cat.png", "memory://no"]
    assert scored(names, "memory://scores") == (3 + 3 + 3 + 1 + 1, 1)
    cat = store.cat("/scores/cat.png.tsv").decode()
    assert cat == line_of("memory://photos/cat.png", CAT)
    shard = store.cat("/scores/1.tar.tsv").decode()
    assert shard.startswith(line_of("memory:///shards/1.tar:cat.png", CAT))
    assert store.cat("/scores/no.tsv") == b"memory://no\t\t\n"
    Path("list").write_text("memory://photos/cat.png\n")
    scored(["@list"], "listed")
    assert Path("listed/list.tsv").read_bytes() == b"memory://photos/cat.png\t\t\n"
    store.pipe("/scores/no.tsv", b"kept")
    store.rm("/scores/no.tsv.failed")
    assert scored(names, "memory://scores")[0] == 0
    assert not list(tmp_path.glob("memory:*"))
    # A bucket is a folder, too.
    assert pending(["a.png"], Path("memory://"), ".tsv", None) == [
        (["a.png"], Path("memory:/a.png.tsv"))
    ]


def test_rows_of_parquet_in_a_store_are_scored(store: Any, made: catclf.Model) -> None:
    parquet_files = pytest.importorskip("parquet_files")
    parquet_files.write(Path("a.parquet"), [CAT.read_bytes(), b"no"], None)
    store.put("a.parquet", "/a.parquet")
    assert scored(["memory://a.parquet"], "scores") == (2, 1)
    assert Path("scores/a.parquet.tsv").read_text() == (
        line_of("memory://a.parquet:0.png", CAT) + "memory://a.parquet:1.png\t\t\n"
    )
    large, small = read_inputs(["memory://a.parquet"], limit=10)
    assert str(small) == "memory://a.parquet:1.png"
    assert isinstance(large, Unreadable)
    assert (str(large), large.failure.kind) == ("memory://a.parquet:0.png", "too-large")


def test_a_worker_reads_the_model_of_a_store_once(
    store: Any, made: catclf.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    catclf.save(made, "memory://m.npz")
    Path("model.npz").unlink()
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


# Other files, and commands


def test_paths_that_stay_on_disk_say_so_and_small_files_are_read(store: Any) -> None:
    with pytest.raises(SettingsError, match=r"^memory://a: `cache` is a file on disk alone"):
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
    root = f"file://{tmp_path}"
    url = f"{root}/store/cats.npz"
    train = partial(run, "train", "--data", "small.h5", "--iterations", "6", "-o")
    for model, plot in (("cats.npz", "cost.svg"), (url, f"{root}/store/cost.svg")):
        shown = train(model, "--checkpoint-every", "2", "--plot", plot)
        assert (shown.code, model in shown.stdout) == (0, True)
    names = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert names == ["cats.npz", "cost.svg"]
    for name in names:
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / name).read_bytes()
    fill(tmp_path, {"cat.png": CAT.read_bytes()})
    here = {"model": "cats.npz", "image": "cat.png", "out": "here"}
    there = {"model": url, "image": f"{root}/cat.png", "out": f"{root}/out"}
    for line in (
        "inspect {model} --image {out}.png",
        "evaluate small.h5 -m {model}",
        "explain {image} -m {model} --image {out}.png",
        "export {model} -o {out}.html",
        "report -m {model} -o {out}.html",
        "predict cat.png -m {model} -o {out}.tsv",
    ):
        got, expected = (run(*line.format(**names).split()) for names in (there, here))
        text = got.stdout
        for key, name in there.items():
            text = text.replace(name, here[key])
        assert (got.code, text, got.stderr) == (0, expected.stdout, expected.stderr)
        for path in tmp_path.glob("here.*"):
            assert path.with_stem("out").read_bytes() == path.read_bytes()
    for line, why in (
        (f"train --data small.h5 -o {url} --log {root}/log", "is written on disk alone"),
        (f"predict cat.png -m {url} -o {url}", "another kind of file is written"),
        ("predict cat.png -m cats.npz -o nope://x/a", "fsspec cannot open that"),
    ):
        run(*line.split()).refused(f"catclf: {line.split()[-1]}: {why}")
    assert f'output = "{url}"\n' in run("train", "--print-config", "-o", url).stdout
    assert not list(tmp_path.glob("*:*"))


def test_no_output_takes_the_place_of_a_source_by_another_name(run: Run, tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    files = {f"p/{name}/{i}.png": image_bytes(i) for i, name in enumerate(["cat", "dog"] * 3)}
    tar(fill(tmp_path, files) / "a.tar", files)
    assert run("data", "pack", "p", "--size", "8", "-o", "packed/").code == 0
    for source, kept, output in (
        (f"{url}/packed", "packed/train-00000.h5", "packed/train-00000.h5"),
        ("packed", "packed/train-00000.h5", f"{url}/packed/train-00000.h5"),
        (f"{url}/a.tar", "a.tar", "a.tar"),
        ("a.tar", "a.tar", f"{url}/a.tar"),
        ("p", "p/cat/0.png", f"{url}/p/cat/0.png"),
    ):
        before = (tmp_path / kept).read_bytes()
        result = run("train", "--data", source, "--size", "8", "--iterations", "2", "-o", output)
        assert result.code == 2, (source, output)
        assert re.search("give another output name|end it in .npz", result.stderr)
        assert (tmp_path / kept).read_bytes() == before
    for name in ("x.npz", "x.tar"):
        run("data", "pack", "a.tar", "-o", f"{url}/{name}").refused("end it in .h5")
