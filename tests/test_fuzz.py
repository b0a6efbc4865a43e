"""Thousands of damaged files: never a traceback, never a hang, and the others are still scored.

Every case is drawn from a seed. CATCLF_FUZZ=20 makes twenty times as many.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from archive_files import image_bytes
from conftest import CLASSES, Tell, command, make_images
from networks import random_weights
from PIL import Image

import catclf
from catclf.features.network import NetworkFeatures
from catclf.features.patch_layers import Recipe
from catclf.features.patches import PatchFeatures
from catclf.images.preprocess import Preprocess
from catclf.model import Training
from catclf.model.model import Similarity

TIMES = int(os.environ.get("CATCLF_FUZZ", "1"))
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\1\0", b"\x80\0\0\0")
Mutation = Callable[[bytearray, random.Random], None]


def flip(data: bytearray, rng: random.Random) -> None:
    """A few bytes anywhere."""
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)


def flip_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(min(len(data), 256))] ^= 1 << rng.randrange(8)


def extreme(data: bytearray, rng: random.Random) -> None:
    """A size or an offset at its limits."""
    start = rng.randrange(max(1, min(len(data), 2048) - 4))
    data[start : start + 4] = rng.choice(EXTREMES)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def drop(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 64)]


def repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randint(1, 256)]


def swell(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.randint(1, 64))


MUTATIONS: tuple[Mutation, ...] = (flip, flip_header, extreme, cut, drop, repeat, swell)
IN_PLACE = (flip, extreme)  # offsets and sizes stay right, so that what they lead to is read


def mutants(
    originals: list[bytes],
    count: int,
    seed: int,
    mend: Callable[[bytes], bytes] = lambda data: data,
    kinds: tuple[Mutation, ...] = MUTATIONS,
) -> Iterator[bytes]:
    """Damaged copies. Half of them are mended, so that a checksum does not hide the damage."""
    rng = random.Random(seed)
    for i in range(count):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 3)):
            if data:
                rng.choice(kinds)(data, rng)
        yield mend(bytes(data)) if i % 2 else bytes(data)


def mend_png(data: bytes) -> bytes:
    """The right checksum in each chunk that can be found."""
    mended, place = bytearray(data), 8
    while place + 12 <= len(mended):
        end = place + 8 + int.from_bytes(mended[place : place + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = zlib.crc32(mended[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(mended)


def mend_zip(data: bytes) -> bytes:
    """The right checksum for each member, in the directory, that can be found."""
    mended = bytearray(data)
    entry = mended.find(b"PK\1\2")
    while entry >= 0 and entry + 46 <= len(mended):
        size, name, extra = (
            int.from_bytes(mended[entry + at : entry + at + length], "little")
            for at, length in ((24, 4), (28, 2), (30, 2))
        )
        local = int.from_bytes(mended[entry + 42 : entry + 46], "little")
        lengths = mended[local + 26 : local + 30]
        start = local + 30 + sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
        mended[entry + 16 : entry + 20] = zlib.crc32(mended[start : start + size]).to_bytes(
            4, "little"
        )
        entry = mended.find(b"PK\1\2", entry + 46 + name + extra)
    return bytes(mended)


# Modes and options of valid files, by format; "+" before a mode: of two frames.
MODES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "PNG": [
        ("RGB", {"exif": 1}),
        ("P", {"transparency": 3}),
        ("RGBA", {}),
        ("1", {}),
        ("+RGB", {}),
    ],
    "JPEG": [("RGB", {"exif": 1}), ("RGB", {"progressive": True}), ("CMYK", {}), ("L", {})],
    "GIF": [("RGB", {}), ("+RGB", {})],
    "TIFF": [
        *(("RGB", {"compression": name}) for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")),
        *(("1", {"compression": "group4"}), ("F", {}), ("LAB", {})),
    ],
    "WEBP": [("RGB", {"exif": 1}), ("RGBA", {"lossless": True}), ("+RGB", {})],
    "BMP": [("RGB", {}), ("P", {})],
    "ICO": [("RGBA", {})],
    "TGA": [("RGB", {})],
}


def images(kind: str) -> list[bytes]:
    """Valid files of one format in several of its modes."""
    rng, exif, found = np.random.default_rng(0), Image.Exif(), []
    pixels = Image.fromarray(rng.integers(0, 256, (40, 52, 3), dtype=np.uint8))
    exif[0x0112] = 6
    for mode, options in MODES[kind]:
        stream, more = io.BytesIO(), dict(options)
        if "exif" in options:
            more["exif"] = exif
        if mode.startswith("+"):
            more |= {"save_all": True, "append_images": [pixels.rotate(90)]}
        pixels.convert(mode.removeprefix("+")).save(stream, kind, **more)
        found.append(stream.getvalue())
    return found


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a good image."""
    folder = tmp_path_factory.mktemp("fuzz")
    rng = np.random.default_rng(1)
    preprocess = Preprocess(16)
    model = catclf.Model(rng.normal(size=(preprocess.n, 1)), 0.5, preprocess)
    catclf.save(model, folder / "model.npz")
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "good.png")
    z = float((pixels.reshape(1, -1) / 255 @ model.w)[0, 0] + 0.5)
    (folder / "z").write_text(repr(z))
    return folder


def only_named_errors(stderr: str) -> bool:
    return all(line.startswith("catclf: ") and line.isprintable() for line in stderr.splitlines())


@pytest.mark.parametrize("kind", MODES)
def test_damaged_images_fail_alone(kind: str, workshop: Path, tmp_path: Path, tell: Tell) -> None:
    count, good = 200 * TIMES, str(workshop / "good.png")
    names = []
    mend = {"PNG": mend_png}.get(kind, bytes)
    for i, content in enumerate(mutants(images(kind), count, 1000 * len(kind), mend)):
        path = tmp_path / f"{i}.{kind.lower()}"
        path.write_bytes(content)
        names += [str(path)] if i % 10 else [str(path), good]
    done = subprocess.run(
        [command(), "predict", "-m", workshop / "model.npz", "--format", "jsonl", "-"],
        input="\n".join(names).encode(),
        capture_output=True,
        timeout=180 * TIMES,
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["path"] for record in records] == names
    failed = [record for record in records if "error" in record]
    assert done.returncode == (3 if failed else 0)
    assert only_named_errors(done.stderr.decode()), done.stderr.decode()
    assert len(done.stderr.splitlines()) == len(failed)
    scores = [record["z"] for record in records if record["path"] == good]
    np.testing.assert_allclose(scores, float((workshop / "z").read_text()), rtol=0, atol=1e-9)
    kinds = Counter(record["error"] for record in failed)
    assert "crashed" not in kinds
    assert len(kinds) >= 2
    tell(f"fuzz {kind}: {count} files, {len(failed)} refused: {dict(kinds)}")


SEVERAL = """
import faulthandler, json, sys
from typer.testing import CliRunner
from catclf.cli.app import app
runner = CliRunner()
for line in sys.stdin:
    faulthandler.dump_traceback_later(20, exit=True)  # for a library that hangs
    result = runner.invoke(app, json.loads(line))
    faulthandler.cancel_dump_traceback_later()
    error = result.exception
    odd = None if error is None or isinstance(error, SystemExit) else repr(error)
    print(json.dumps([result.exit_code, result.stdout, result.stderr, odd]), flush=True)
"""


def run_several(calls: list[list[str]], folder: Path) -> Iterator[tuple[int, str, str] | None]:
    """Many commands in one process: exit code, stdout and stderr; None for one that ended it."""
    while calls:
        done = subprocess.run(
            [sys.executable, "-c", SEVERAL],
            input="\n".join(map(json.dumps, calls)),
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=180 * TIMES,
        )
        results = [json.loads(line) for line in done.stdout.splitlines()]
        for call, (code, stdout, stderr, odd) in zip(calls, results, strict=False):
            assert odd is None, (call, odd)
            yield code, stdout, stderr
        calls = calls[len(results) :]
        if calls:
            yield None
            calls = calls[1:]
        else:
            assert (done.returncode, done.stderr) == (0, "")


def check(
    results: Iterable[tuple[int, str, str] | None],
    what: str,
    intact: list[str],
    tell: Tell,
    fatal: float = 0,
) -> None:
    """Each command did its work or named the file in one line; count what happened.

    ``fatal`` is the share that may end the process: what a C library does to us there is not ours.
    """
    codes: Counter[int | None] = Counter()
    for result in results:
        if result is None:
            codes[None] += 1
            continue
        code, stdout, stderr = result
        codes[code] += 1
        assert code in (0, 2), result
        assert "unexpected" not in stderr, stderr
        assert only_named_errors(stderr)
        if code == 2:
            assert stdout == ""
            assert stderr.count("\n") == 1
        else:
            assert stdout in intact or not intact
    line = f"fuzz {what}: {codes.total()} files, {codes[2]} refused"
    tell(line + (f", {codes[None]} crashed or hung libhdf5" if fatal else ""))
    assert codes[None] <= fatal * codes.total()
    assert codes[2] > codes.total() / 10


def model_file(kind: str, path: Path, size: int) -> bytes:
    """A small model of features, with weights drawn at random."""
    rng = np.random.default_rng(3)
    features, known = NetworkFeatures(size, random_weights()), None
    if kind == "network":
        rows = rng.normal(size=(40, features.n)).astype(np.float32)
        known = Similarity.learn(rows, rows.mean(axis=0), 0)
    else:
        recipe = Recipe(
            first_atoms=8, patch=4, places=7, channels=6, directions=10, second_atoms=12
        )
        images = rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8)
        features = PatchFeatures.learn(images, workers=1, recipe=recipe)  # type: ignore[assignment]
    w, seen = rng.normal(size=(features.n, 1)), np.arange(1, 7, dtype=np.uint64) ** 9
    training = Training(images=6, ended={"reason": "converged", "within": 1e-8})
    parts = {"training": training, "features": features, "digests": seen, "similarity": known}
    catclf.save(catclf.Model(w, 0.5, Preprocess(size), **parts), path)  # type: ignore[arg-type]
    return path.read_bytes()


def model_mutants(original: bytes, count: int) -> Iterator[bytes]:
    """Damaged models, their checksums mended: half of the damage is done around large arrays."""
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        members = [archive.read(each)[256:] for each in archive.infolist()]
    large = {b"~%d~" % i: data for i, data in enumerate(members) if len(data) > 20_000}
    small = original
    for mark, data in large.items():
        small = small.replace(data, mark)
    for i, damaged in enumerate(mutants([small], count, seed=5, kinds=IN_PLACE)):
        for mark, data in large.items():
            damaged = damaged.replace(mark, data)
        if i % 2:
            (damaged,) = mutants([original], 1, seed=i, kinds=IN_PLACE)
        yield mend_zip(damaged)


@pytest.mark.parametrize("kind", ["pixels", "patches", "network"])
def test_damaged_models_are_refused_or_score(
    workshop: Path, tmp_path: Path, kind: str, tell: Tell
) -> None:
    """With new checksums a model may be another one, with other scores, but never half of one."""
    calls, image, path = [], str(workshop / "good.png"), workshop / "model.npz"
    original = path.read_bytes()
    if kind != "pixels":
        size = 128 if kind == "network" else 24
        original = model_file(kind, tmp_path / "model.npz", size)
    count = {"pixels": 200, "patches": 80, "network": 40}[kind] * TIMES
    for i, content in enumerate(model_mutants(original, count)):
        (tmp_path / f"{i}.npz").write_bytes(content)
        command = [["predict", image, "-m"], ["inspect", "--format", "json"], ["inspect"]][i % 3]
        calls.append([*command, f"{i}.npz"])
    check(run_several(calls, tmp_path), f"model of {kind}, checksums mended", [], tell)


def test_damage_to_a_model_is_seen(workshop: Path, tmp_path: Path, tell: Tell) -> None:
    model, image = workshop / "model.npz", str(workshop / "good.png")
    calls = []
    for i, content in enumerate(mutants([model.read_bytes()], 200 * TIMES, seed=7)):
        (tmp_path / f"{i}.npz").write_bytes(content)
        calls.append(["predict", image, "-m", f"{i}.npz"])
    ((_, sound, _),) = filter(None, run_several([[*calls[0][:3], str(model)]], tmp_path))
    check(run_several(calls, tmp_path), "model", [sound], tell)


def training_file(kind: str, folder: Path) -> bytes:
    x, y = make_images(12)
    stream = io.BytesIO()
    if kind == "parquet":
        parquet_files = pytest.importorskip("parquet_files")
        images = [image_bytes(seed) for seed in range(4)]
        path: Path = parquet_files.write(folder / "data.parquet", images, [0, 1] * 2, ("a", "b"))
        return path.read_bytes()
    if kind == "npz":
        np.savez(stream, x=x, y=y)
        return stream.getvalue()
    with h5py.File(stream, "w") as file:
        options = {"compression": "gzip", "chunks": (2, 8, 8, 3)} if kind == "gzip" else {}
        for part in ("train", "test") if options else ("train",):
            file.create_dataset(f"{part}_set_x", data=x, **options)
            file[f"{part}_set_y"] = y
        # A list is kept as text of variable length, which is read in a process of its own.
        file["list_classes"] = np.array(CLASSES) if kind == "gzip" else CLASSES
    return stream.getvalue()


@pytest.mark.parametrize(
    ("ending", "forms", "count", "mend", "fatal"),
    [
        ("npz", ["npz"], 60, mend_zip, 0),
        ("parquet", ["parquet"], 60, bytes, 0),
        ("h5", ["hdf5", "gzip", "gzip"], 120, bytes, 0.01),
    ],
)
def test_damaged_data_sets_are_refused_or_read(
    tmp_path: Path, ending: str, forms: list[str], count: int, mend: Any, fatal: float, tell: Tell
) -> None:
    calls, originals = [], [training_file(form, tmp_path) for form in forms]
    for i, content in enumerate(mutants(originals, count * TIMES, 11, mend)):
        name = f"{i}.{ending}"
        (tmp_path / name).write_bytes(content)
        calls.append(
            ["train", "--data", name, "--size", "8", "--iterations", "2", "-q", "--skip-bad"]
        )
    check(run_several(calls, tmp_path), f"data set, {ending}", [], tell, fatal)
