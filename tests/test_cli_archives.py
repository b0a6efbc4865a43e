"""Archives and shards as the data of every command, and what is refused of them."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
from archive_files import add, image_bytes, stored, tar
from parquet_files import write
from typer.testing import CliRunner

import catclf
from catclf.cli.app import app

TWO = ("cat", "dog")
NAMES = [f"{name}/{i}.png" for i in range(4) for name in TWO]
SHARDS = "s-{0..1}.tar"
TRAIN = ("train", "--iterations", "3", "--size", "8", "-q")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zip of class folders, two tars of samples and two Parquet files, of the same images."""
    images = [image_bytes(seed) for seed in range(8)]
    stored(tmp_path / "a.zip", dict(zip(NAMES, images, strict=True)))
    for shard, rows in enumerate((range(4), range(4, 8))):
        files: dict[str, bytes] = {}
        for row in rows:
            files |= {f"{row}.png": images[row], f"{row}.cls": NAMES[row][:3].encode()}
        tar(tmp_path / f"s-{shard}.tar", files)
        labels = [TWO.index(NAMES[row][:3]) for row in rows]
        write(tmp_path / f"p-{shard}.parquet", [images[row] for row in rows], labels, TWO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == code, result.stderr
    return result


@pytest.mark.parametrize("source", ["a.zip", SHARDS, "p-*.parquet"])
def test_every_command_reads_them(sources: Path, source: str) -> None:
    command(*TRAIN, "--data", source, "-o", "m.npz")
    model = catclf.load(sources / "m.npz")
    assert model.classes == ("dog", "cat")
    assert "8 images, 4 cat" in command("evaluate", source, "-m", "m.npz").stdout
    info = command("data", "info", source, "--image", "sheet.png").stdout
    assert info.startswith(f"{source}, 0.0 MB\ntrain: 8 images")
    verified = command("data", "verify", source, "--size", "8", code=1).stdout  # it is noise
    assert f"checked 8 images: {source} 8" in verified
    explained = command("explain", source, "--index", "0", "-m", "m.npz").stdout
    first = {"a.zip": "a.zip:cat/0.png", SHARDS: f"{SHARDS} s-0.tar:0.png"}
    assert explained.startswith(first.get(source, "p-*.parquet p-0.parquet:0.png"))
    command("data", "pack", source, "--size", "8", "-o", "packed.h5")
    command("data", "pack", source, "--size", "8", "-o", "packed/")
    for packed in ("packed.h5", "packed"):
        command(*TRAIN, "--method", "stream", "--data", source, "-o", "m.npz")
        command(*TRAIN, "--method", "stream", "--data", packed, "-o", "again.npz")
        one, other = (catclf.load(sources / name) for name in ("m.npz", "again.npz"))
        assert one.w.tobytes() == other.w.tobytes()


@pytest.mark.parametrize("source", [SHARDS, "p-*.parquet"])
def test_no_output_replaces_a_shard(sources: Path, source: str) -> None:
    taken = "s-1.tar" if source == SHARDS else "p-0.parquet"
    before = (sources / taken).read_bytes()
    result = command(*TRAIN, "--data", source, "-o", taken, code=2)
    assert f"{taken}: another kind of file is written" in result.stderr
    assert (sources / taken).read_bytes() == before


def test_problems_are_named_by_archive_and_member(sources: Path) -> None:
    files = {f"{name}/{i}.png": image_bytes(i) for name in TWO for i in (0, 1)}
    stored(sources / "a.zip", files | {"cat/bad.png": b"x"})
    found = command("data", "verify", "a.zip", code=1).stdout
    assert "\na.zip:cat/bad.png: is not an image" in f"\n{found}"
    assert "same image, labels cat, dog: a.zip:cat/0.png = a.zip:dog/0.png" in found
    refused = command(*TRAIN, "--data", "a.zip", code=2).stderr
    assert "catclf: a.zip: 1 image cannot be read: a.zip:cat/bad.png (is not an image" in refused
    assert "--skip-bad" in refused
    kept = command(*TRAIN, "--data", "a.zip", "--skip-bad").stderr
    assert "left out 1 unreadable image: a.zip:cat/bad.png (" in kept


def test_damaged_archives_and_missing_labels_are_problems(sources: Path) -> None:
    content = (sources / "s-1.tar").read_bytes()
    (sources / "s-1.tar").write_bytes(content[: content.index(b"6.cls") + 100])
    found = command("data", "verify", SHARDS, code=1).stdout
    assert f"{SHARDS}: s-1.tar: is damaged, or not a tar archive" in found
    assert f"{SHARDS}: left out 1 sample without a label: s-1.tar:6.png" in found
    (sources / "p-1.parquet").write_bytes(b"PAR1")
    found = command("data", "verify", "p-*.parquet", code=1).stdout
    assert "p-*.parquet: p-1.parquet: is damaged, or not a Parquet file" in found


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("none-*.tar", "none-*.tar: there is no file of such a name"),
        ("s-{0..2}.tar", "s-2.tar: there is no such file or folder"),
        ("a.tgz", "a.tgz: cannot be read: it is damaged, or not compressed as its name says"),
        ("*", "only archives or Parquet files are read together"),
        ("{1..1000000}{1..1000000}.tar", "stands for 1000000000000 names: give fewer"),
        ("shards", "shards/0.tar: is damaged, or not a tar archive: empty file"),
        ("evil.tar", "evil.tar: holds no class folders"),
    ],
)
def test_what_is_no_source_is_one_line(sources: Path, source: str, why: str) -> None:
    (sources / "a.tgz").write_bytes(b"\x1f\x8b")
    (sources / "shards").mkdir()
    for name in ("0.tar", "1.tar"):
        (sources / "shards" / name).write_bytes(b"")
    with tarfile.open(sources / "evil.tar", "w") as archive:
        add(archive, "cat", type=tarfile.SYMTYPE, linkname="/etc")
        add(archive, "../dog.png", type=tarfile.LNKTYPE, linkname="/etc/passwd")
    before = sorted(sources.rglob("*"))
    result = command(*TRAIN, "--data", source, code=2)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert why in result.stderr
    assert sorted(sources.rglob("*")) == before
