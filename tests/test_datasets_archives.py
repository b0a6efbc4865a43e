"""Class folders in zip and tar archives: read as the same folders on disk, and nothing unpacked."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from archive_files import WRITERS, add, image_bytes, tar
from test_datasets_folders import SIZE, opened, save

from catclf.datasets import Listing, ReadOptions, Split, open_source
from catclf.datasets.names import split_of_shard
from catclf.errors import DataError

every_kind = pytest.mark.parametrize("kind", WRITERS)
PARTS = ("train", "val", "test")
TWO = ("cat", "dog")


def packed(root: Path, kind: str, base: Path) -> Path:
    """An archive with all files of a folder, in no order, and its empty folders."""
    writer, name = WRITERS[kind]
    files = sorted((p for p in root.rglob("*") if p.is_file()), key=lambda p: str(p)[::-1])
    empty = (p for p in root.rglob("*") if p.is_dir() and not any(p.iterdir()))
    content = {str(p.relative_to(root)): p.read_bytes() for p in files}
    path = writer(base / name, content)
    for folder in empty:
        if kind == "tar":
            with tarfile.open(path, "a") as archive:
                add(archive, str(folder.relative_to(root)), type=tarfile.DIRTYPE)
        else:
            with zipfile.ZipFile(path, "a") as zipped:
                zipped.writestr(f"{folder.relative_to(root)}/", b"")
    return path


def without_place(text: str, root: Path) -> str:
    """A text in which a folder and an archive are called the same."""
    return text.replace(f"{root}/", "@/").replace(f"{root}:", "@/").replace(str(root), "@")


def facts(path: Path, part: Split) -> dict[str, object]:
    """All that a source says, but for its pixels."""
    source = open_source(path, ReadOptions(size=SIZE)).split(part)
    assert isinstance(source, Listing)
    return {
        "shown": without_place(source.shown, path),
        "classes": source.classes,
        "labels": source.labels.tolist(),
        "files": [without_place(source.path(row), path) for row in range(len(source.labels))],
        "notes": [without_place(note, path) for note in source.notes],
    }


LAYOUTS: dict[str, tuple[str, ...]] = {
    "plain": ("cat/b.png", "cat/a.png", "cat/in/z.png", "cat/in/.c.png", "dog/0.png"),
    "kaggle": tuple(f"archive/{p}_set/{p}_set/{c}s/0.png" for p in PARTS[::2] for c in TWO),
    "three parts": tuple(f"{part}/{name}/0.png" for part in PARTS for name in TWO),
    "validation": tuple(f"{part}/{name}/0.png" for part in PARTS[:2] for name in TWO),
    "turned": tuple(f"{name}/{part}/0.png" for part in PARTS[::2] for name in "ab"),
    "macOS": ("cat/0.png", "dog/1.png", "__MACOSX/cat/._0.png", ".DS_Store", "dog/Thumbs.db"),
    "beside": ("cat/0.png", "dog/1.png", "readme.txt", "loose.png", "cat/no_ending", "dog/x.cr2"),
}


@every_kind
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_archive_is_read_as_its_folder(tmp_path: Path, kind: str, layout: str) -> None:
    root = save(tmp_path / "a", *LAYOUTS[layout])
    (root / LAYOUTS[layout][0]).with_name("notes").write_text("BM begins a text, too")
    (root / LAYOUTS[layout][0]).with_name("empty").mkdir()
    archive = packed(root, kind, tmp_path)
    held = open_source(root).splits
    assert open_source(archive).splits == held
    for part in held or {"train"}:
        assert facts(archive, part) == facts(root, part)


@every_kind
def test_files_named_after_classes_are_read_when_asked(tmp_path: Path, kind: str) -> None:
    root = save(tmp_path / "a", "train/cat.0.jpg", "train/dog.0.jpg", "train/cat.1.jpg")
    archive = packed(root, kind, tmp_path)
    data = opened(archive, label_from="name")
    assert (data.classes, data.Y.tolist()) == (("dog", "cat"), [[1, 1, 0]])
    assert data.names == tuple(
        f"{archive}:train/{name}" for name in ("cat.0.jpg", "cat.1.jpg", "dog.0.jpg")
    )


@every_kind
@pytest.mark.parametrize(
    "files",
    [
        ("train/cat.0.jpg", "test1/dog.1.jpg"),
        ("images/x.jpg", "annotations/trimaps/x.png"),
        ("a/cats/0.png", "a/dogs/0.png", "b/cats/0.png", "b/dogs/0.png"),
        ("cat/0.png", "Cat/1.png"),
        ("cat/0.png", "dog/.hidden.png"),
        ("cat/0.png",),
        ("cat.0.jpg", "dog.0.jpg"),
    ],
)
def test_an_archive_is_refused_as_its_folder(
    tmp_path: Path, kind: str, files: Sequence[str]
) -> None:
    root = save(tmp_path / "a", *files)
    archive = packed(root, kind, tmp_path)
    said = []
    for path in (root, archive):
        with pytest.raises(DataError) as caught:
            opened(path)
        said.append(without_place(str(caught.value), path))
    assert said[0] == said[1]


@every_kind
def test_damaged_members_are_named_or_left_out(tmp_path: Path, kind: str) -> None:
    root = save(tmp_path / "a", *(f"{name}/{i}.png" for i in range(3) for name in TWO))
    (root / "cat" / "1.png").write_bytes((root / "cat" / "1.png").read_bytes()[:50])
    archive = packed(root, kind, tmp_path)
    with pytest.raises(DataError) as caught:
        opened(archive)
    assert f"1 image cannot be read: {archive}:cat/1.png (" in str(caught.value)
    data = opened(archive, skip_bad=True)
    assert data.m == 5
    assert f"left out 1 unreadable image: {archive}:cat/1.png" in data.notes[-1]


@every_kind
@pytest.mark.parametrize("lead", ["../../", "/", "./", "/../x/../"])
def test_names_that_lead_out_of_a_folder_are_names(tmp_path: Path, kind: str, lead: str) -> None:
    writer, name = WRITERS[kind]
    inner = tmp_path / "in"
    inner.mkdir()
    names = ("cat/0.png", "dog/1.png")
    archive = writer(inner / name, {f"{lead}{each}": image_bytes(1) for each in names})
    data = opened(archive)
    assert (data.classes, data.m) == (("dog", "cat"), 2)
    assert data.names == tuple(f"{archive}:{lead}{each}" for each in names)
    assert list(tmp_path.rglob("*.png")) == []


def test_backslashes_of_a_zip_from_windows_divide_names(tmp_path: Path) -> None:
    writer, name = WRITERS["stored"]
    archive = writer(tmp_path / name, {f"train\\{c}\\0.png": image_bytes(1) for c in TWO})
    assert open_source(archive).splits == {"train"}
    assert opened(archive).classes == ("dog", "cat")


def test_links_are_counted_and_never_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(image_bytes(3))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in TWO:
            add(archive, f"{name}/0.png", image_bytes(1))
        add(archive, "cat/1.png", type=tarfile.SYMTYPE, linkname=str(secret))
        add(archive, "cat/2.png", type=tarfile.LNKTYPE, linkname="dog/0.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for name in TWO:
            zipped.writestr(f"{name}/0.png", image_bytes(1))
        info = zipfile.ZipInfo("cat/1.png")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, str(secret))
    for name, count in (("a.tar", "2 files: 2 link"), ("a.zip", "1 file: 1 link")):
        data = opened(tmp_path / name)
        assert data.m == 2
        assert any(f"left out {count}" in note for note in data.notes)


def test_the_last_of_a_name_counts_as_when_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for seed, name in enumerate(("cat/0.png", "dog/0.png", "cat/0.png")):
            add(archive, name, image_bytes(seed))
    data = opened(tmp_path / "a.tar")
    assert data.m == 2
    assert any("holds 1 file twice" in note for note in data.notes)
    (tmp_path / "unpacked").mkdir()
    with tarfile.open(tmp_path / "a.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    np.testing.assert_array_equal(data.images, opened(tmp_path / "unpacked").images)


def test_sizes_that_lie_cost_one_member(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", {f"{name}/{i}.png": b"" for name in TWO for i in (0, 1)})
    with tarfile.open(archive, "w") as written:
        for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
            add(written, name, image_bytes(1))
    info = tarfile.TarInfo("dog/1.png")
    info.size = 10 * 1024**3
    content = archive.read_bytes().rstrip(b"\0")
    content += bytes(-len(content) % 512)
    archive.write_bytes(content + info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(DataError, match="damaged, or not a tar archive"):
        opened(archive)
    data = opened(archive, skip_bad=True)
    assert data.m == 3
    assert any("what is before that is used" in note for note in data.notes)
    assert any("10737418240 bytes, more than" in note for note in data.notes)


@every_kind
def test_a_cut_archive_says_what_can_be_done(tmp_path: Path, kind: str) -> None:
    root = save(tmp_path / "a", *(f"{name}/{i}.png" for i in range(3) for name in TWO))
    archive = packed(root, kind, tmp_path)
    archive.write_bytes(archive.read_bytes()[: 1024 * 4 + 520 if kind == "tar" else -30])
    with pytest.raises(DataError, match=r"is damaged, or not a (tar|zip) archive"):
        opened(archive)
    if kind == "tar":
        assert opened(archive, skip_bad=True).m == 4  # the fifth is cut
    else:  # its list of members is at its end
        with pytest.raises(DataError, match="is damaged, or not a zip archive"):
            opened(archive, skip_bad=True)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"train.zip": b"PK", "test.zip": b"PK"}, "holds train.zip, test.zip: unpack them"),
        ({"train.h5": b""}, "holds train.h5: unpack them"),
        ({}, "holds no class folders"),
    ],
)
@every_kind
def test_archives_in_archives_are_not_opened(
    tmp_path: Path, kind: str, files: dict[str, bytes], why: str
) -> None:
    writer, name = WRITERS[kind]
    with pytest.raises(DataError, match=why):
        opened(writer(tmp_path / name, files))


def test_archives_of_a_pattern_are_one_source(tmp_path: Path) -> None:
    for number, name in enumerate(TWO):
        tar(tmp_path / f"{number}.tar", {f"{name}/{i}.png": image_bytes(i) for i in range(2)})
    data = opened(tmp_path / "{0..1}.tar")
    assert (data.m, data.classes, data.source) == (4, ("dog", "cat"), "{0..1}.tar")
    assert data.names is not None
    assert data.names[0] == f"{tmp_path}/0.tar:cat/0.png"
    with pytest.raises(DataError, match=r"2\.tar: there is no such file"):
        opened(tmp_path / "{0..2}.tar")
    with pytest.raises(DataError, match="there is no file of such a name"):
        opened(tmp_path / "x*.tar")
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(DataError, match=r"only archives or Parquet files are read"):
        opened(tmp_path / "*.*")


def test_equal_names_in_several_archives_are_several_files(tmp_path: Path) -> None:
    for number in range(3):
        files = {f"{name}/0.png": image_bytes(number) for name in TWO}
        tar(tmp_path / f"{number}.tar", files)
    data = opened(tmp_path / "{0..2}.tar")
    assert data.names == tuple(f"{tmp_path}/{i}.tar:{name}/0.png" for name in TWO for i in range(3))
    assert not any("twice" in note for note in data.notes)
    for number in range(3):
        one = opened(tmp_path / f"{number}.tar").images
        np.testing.assert_array_equal(data.images[number::3], one)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("train-00000-of-00004.parquet", "train"),
        ("data/test-00000-of-00001-b42f8a1c33e0a9d7.parquet", "test"),
        ("validation_003.tar", "validation"),
        ("train.zip", "train"),
        ("imagenet-train-000123.tar", None),
        ("default/train/0000.parquet", "train"),
        ("000123.tar", None),
        ("cats.tar.gz", None),
    ],
)
def test_the_part_of_a_shard_is_in_its_name(name: str, kind: str | None) -> None:
    assert split_of_shard(Path(name)) == kind
