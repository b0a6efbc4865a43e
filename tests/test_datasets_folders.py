"""Class folders, on disk and in archives, with tables or not: what is read, told of and refused."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pytest
from archive_files import WRITERS, add, image_bytes, stored, tar
from conftest import fill, in_python_without_powers, told
from PIL import Image

from catclf.datasets import Dataset, ReadOptions, Split, open_parts, open_source
from catclf.datasets.arrays import role_of
from catclf.datasets.folders import find_layout
from catclf.datasets.names import label_in_name, negated, split_named, split_of_shard
from catclf.datasets.table import find_label
from catclf.errors import DataError
from catclf.images.archive import Entry
from catclf.images.tree import Folder

SIZE = 4
TWO = ("cat", "dog")
opened = partial(conftest.opened, size=SIZE)
every_archive = pytest.mark.parametrize("kind", WRITERS)
every_kind = pytest.mark.parametrize("kind", ["folder", *WRITERS])


def save(root: Path, *names: str) -> Path:
    """Images of one tone each, whose red is their number in the order of ``names``."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), (number, 100, 200)).save(root / name, "PNG")
    return root


def packed(root: Path, kind: str) -> Path:
    """A folder itself, or an archive beside it with all its files, in no order, and folders."""
    if kind == "folder":
        return root
    writer, name = WRITERS[kind]
    files: dict[str, bytes] = {}
    for path in sorted(root.rglob("*"), key=lambda path: str(path)[::-1]):
        shown = str(path.relative_to(root))
        files |= {f"{shown}/": b""} if path.is_dir() else {shown: path.read_bytes()}
    return writer(root.parent / name, files)


def reds(data: Dataset) -> list[int]:
    return [int(red) for red in np.asarray(data.images)[:, 0, 0, 0]]


def without_place(text: str, root: Path) -> str:
    """A text in which a folder and an archive are called the same."""
    return text.replace(f"{root}/", "@/").replace(f"{root}:", "@/").replace(str(root), "@")


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        opened(path, **options)
    assert str(caught.value).isprintable()
    return without_place(str(caught.value), path)


# Names

SPLITS = {
    "train": "train Training train1 seg_train train_set training_set TRAIN train-images set_train",
    "test": "test test1 testing test_set seg_test",
    "validation": "val valid validation eval dev_set",
    "other": "seg_pred unlabeled",
    None: "cat trainer testudo valley train_station set",
}
SHARDS = {
    "train": "train-00000-of-00004.parquet train.zip default/train/0000.parquet",
    "test": "data/test-00000-of-00001-b42f8a1c33e0a9d7.parquet",
    "validation": "validation_003.tar",
    None: "imagenet-train-000123.tar 000123.tar cats.tar.gz",
}
LABELS = {
    "cat": "cat.0.jpg|cat (3).jpg|cat-1-2.jpg|cat.jpg",
    "dog": "dog_12.png",
    "Maine_Coon": "Maine_Coon_104.jpg",
    "": "001.jpg|12_34.jpg",
}


def test_splits_and_classes_are_in_names() -> None:
    for kind, names in SPLITS.items():
        assert {split_named(name) for name in names.split()} == {kind}
    for kind, names in SHARDS.items():
        assert {split_of_shard(Path(name)) for name in names.split()} == {kind}
    for label, names in LABELS.items():
        assert {label_in_name(name) for name in names.split("|")} == {label}


LONG = ["1" * 10_000, "dataset" * 1_400, "a1_" * 3_300, "train" * 2_000, "(1)" * 3_300]
LONG += ["-._ " * 2_500, "no" + " " * 10_000 + "\nx", "e" + "\u0301\u0327" * 50_000]


@pytest.mark.parametrize("end", ["", "x", "_aug", "_12b"])
@pytest.mark.parametrize("name", LONG, ids=lambda name: name[:7])
def test_names_are_read_in_the_time_of_their_length(name: str, end: str) -> None:
    text = name + end
    for read in (split_named, label_in_name, role_of, negated, lambda t: find_label([t])):
        read(text)
    split_of_shard(Path(f"/{text}.tar"))
    tree = Folder("data", "data")
    for folder in (text, f"b{text}"):
        tree.add("a.tar", Entry(f"{folder}/{text}.png", (0, 0, 0, 0, 0)))
    assert len(find_layout(tree).classes[None]) == 2


# Layouts: images, classes, and the red tones of each split in order

HERE: dict[Split, list[int]] = {"train": [0, 1]}
BOTH: dict[Split, list[int]] = {"train": [0, 1], "test": [2, 3]}
SYSTEM = ["@eaDir", "__MACOSX", "lost+found", "#recycle", "$RECYCLE.BIN", "__pycache__"]
SYSTEM += ["System Volume Information", ".ipynb_checkpoints", ".Trash-1000"]
PASSED_OVER = [f"{at}{name}/x.png/2.png" for name in SYSTEM for at in ("", "cat/")]


def parts(*names: str) -> list[str]:
    return [f"{part}/{name}s/0.png" for part in names for name in TWO]


LAYOUTS: dict[str, tuple[list[str], str, dict[Split, list[int]]]] = {
    "plain": (
        ["cat/b.png", "cat/a.png", "cat/in/z.PNG", "cat/in/.c.png", "dog/0.Tiff"],
        "dog cat",
        {"train": [1, 0, 2, 4]},
    ),
    "training_set": (parts("training_set", "test_set"), "dogs cats", BOTH),
    "twice": (parts("training_set/training_set", "test_set/test_set"), "dogs cats", BOTH),
    "wrapped": (parts("archive/train", "archive/test"), "dogs cats", BOTH),
    "wrapped twice": (parts("a/b/train", "a/b/val"), "dogs cats", BOTH),
    "validation": (parts("Train", "Valid"), "dogs cats", BOTH),
    "three": (
        parts("train", "val", "test"),
        "dogs cats",
        {**BOTH, "validation": [2, 3], "test": [4, 5]},
    ),
    "unlabelled test": ([*parts("train", "val"), "test/1.png"], "dogs cats", BOTH),
    "turned": ([f"{name}/{part}/0.png" for part in BOTH for name in "ab"], "a b", BOTH),
    "called train": (["bus/a.png", "train/b.png"], "bus train", HERE),
    "beside": (["cat/0.png", "dog/1.png", "loose.png"], "dog cat", HERE),
    "system": (["cat/0.png", "dog/1.png", *PASSED_OVER], "dog cat", HERE),
}


def facts(path: Path, part: Split) -> dict[str, object]:
    """All that a source says, but for its pixels."""
    source = open_source(path, ReadOptions(size=SIZE)).split(part)
    return {
        "shown": without_place(source.shown, path),
        "classes": source.classes,
        "labels": source.labels.tolist(),
        "files": [without_place(source.path(row), path) for row in range(len(source.labels))],
        "notes": [without_place(note, path) for note in source.notes],
    }


@every_kind
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_read_alike_in_every_container(tmp_path: Path, kind: str, layout: str) -> None:
    files, classes, splits = LAYOUTS[layout]
    root = save(tmp_path / "a", *files)
    (root / files[0]).with_name("notes").write_text("BM begins a text, too")
    (root / files[0]).with_name("empty").mkdir()
    source = packed(root, kind)
    held = open_source(source).splits
    assert held == open_source(root).splits == set(splits if len(splits) > 1 else ())
    for split, tones in splits.items():
        data = opened(source, split)
        assert (" ".join(data.classes), reds(data)) == (classes, tones)
        assert facts(source, split) == facts(root, split)


FAULTS = {
    "train/cat.0.jpg test1/dog.1.jpg": "are no classes, but splits or parts of a data set",
    "train/a/x.jpg test/1.jpg": "@/train: holds one class folder, a",
    "images/x.jpg annotations/trimaps/x.png": "are no classes",
    "images/x.jpg labels/x.png masks/x.png": "are no classes",
    "a/cats/0.png a/dogs/0.png b/cats/0.png b/dogs/0.png": "so these are the classes: give `data=",
    "v1/cats/0.png v1/dogs/0.png v2/Cats/0.png v2/Dogs/0.png": "give `data=",
    "cat/0.png Cat/1.png": "two spellings of one class",
    "caf\u00e9/0.png cafe\u0301/1.png": "two spellings of one class",
    "cat/0.png dog/.hidden.png": "class folder dog holds no images (.avif",
    "train/cat/a.png train/dog/.b.png": "class folder dog holds no images",
    "cat/0.png": "holds one class folder, cat: two are needed, such as ",
    "cat.0.jpg dog.0.jpg": "(cat, dog): `label_from=name` reads them",
    "a.png b.png": "holds no class folders",
    "cat/0.png dog.zip": "holds dog.zip: ",
    "train.zip test.zip x/0.png": "holds train.zip, test.zip: ",
}


@every_kind
@pytest.mark.parametrize("files", FAULTS)
def test_what_holds_no_two_classes_is_refused_alike(tmp_path: Path, kind: str, files: str) -> None:
    root = save(tmp_path / "a", *files.split())
    said = refusal(packed(root, kind))
    assert said.startswith(("@: ", "@/"))
    assert FAULTS[files] in said
    if "zip" not in files:
        assert said == refusal(root)


def test_spaces_make_two_spellings_and_no_files_no_classes(tmp_path: Path) -> None:
    assert "two spellings" in refusal(save(tmp_path / "a", "CAT/0.png", "cat /1.png"))
    (tmp_path / "b").mkdir()
    assert "holds no class folders" in refusal(tmp_path / "b")
    root = save(tmp_path / "a\nb", "test/cat/a.png", "test/dog/b.png")
    with pytest.raises(DataError, match="has no train split, but test"):
        opened(root)


PNG = image_bytes(1)
ARROW = {"d/train/state.json": b"{}", "d/train/data-0-of-1.arrow": b"x", "d/test/a.arrow": b"x"}
SUBMISSION = {"sample_submission.csv": b"id,label", "train.csv": b"id,label\n1,cat"}


@pytest.mark.parametrize(
    ("files", "source", "why"),
    [
        (ARROW, "d", "written by save_to_disk as .arrow files: `dataset.to_parquet"),
        (ARROW, "d/train", "written by save_to_disk as .arrow files: `dataset.to_parquet"),
        (ARROW, "d/test/a.arrow", "Arrow files are not read: `dataset.to_parquet"),
        (
            {"train_images/1.png": PNG, "test_images/2.png": PNG, **SUBMISSION},
            "",
            "holds train.csv, sample_submission.csv: give `data=@/train.csv`",
        ),
        ({"cat.7z": b"7z\xbc\xaf"}, "cat.7z", "7z archive: unpack it"),
    ],
)
def test_a_way_out_is_named(tmp_path: Path, files: dict[str, bytes], source: str, why: str) -> None:
    fill(tmp_path, files)
    assert why in refusal(tmp_path / source)


@every_kind
def test_files_named_after_classes_are_read_when_asked(tmp_path: Path, kind: str) -> None:
    names = ("cat.0.jpg", "dog.0.jpg", "cat.1.jpg")
    root = save(tmp_path / "a", *(f"train/{name}" for name in names))
    source = packed(root, kind)
    data = opened(source, label_from="name")
    assert (data.classes, data.Y.tolist()) == (("dog", "cat"), [[1, 1, 0]])
    prefix = "" if kind == "folder" else f"{source}:train/"
    assert data.names == tuple(f"{prefix}{name}" for name in sorted(names))
    if kind == "folder":
        assert opened(root / "train", label_from="name").Y.tolist() == [[1, 1, 0]]
        save(root, "test1/1.jpg")
        assert opened(root, label_from="name").m == 3


# What is left out


def test_what_is_left_out_or_shows_nothing_is_counted(tmp_path: Path) -> None:
    names = ["cat/0.png", "dog/1.png", "cat/no_ending", "dog/2.jpg_large", "dog/3.mpo"]
    save(tmp_path, *names, "loose.png", "cat/@eaDir/x.png", "@eaDir/y.png")
    fill(tmp_path, {"cat/notes.txt": "x", "cat/raw.dng": b"II*\0", ".git/x.png": "x", "a.md": "x"})
    fill(tmp_path, {"dog/4.png": (7, 7, 7)})
    (tmp_path / "empty").mkdir()
    data = opened(tmp_path)
    assert data.m == 6  # endings that are unknown do not matter: the bytes are an image's
    told(data, "left out 3 files: 1 .txt, 1 .dng, 1 .md", "left out 1 loose image")
    told(data, "class folder empty is empty", "passed over system folders: @eaDir")
    told(data, "1 image of 6 show one tone alone, the first dog/4.png")


def test_what_was_decided_about_splits_is_said(tmp_path: Path) -> None:
    data = opened(save(tmp_path / "a", *parts("train", "train_set"), "docs/0.png"))
    assert reds(data) == [0, 1]
    told(data, "passed over beside the splits: docs, train_set")
    root = save(tmp_path / "b", *parts("train", "val"))
    told(opened(root, "test"), "its validation split is taken as its test split")
    assert not any("test split" in note for note in opened(root).notes)


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    save(tmp_path / "store", "a/0.png", "b/1.png")
    photos = save(tmp_path / "photos", "dog/2.png")
    (photos / "cat").symlink_to(tmp_path / "store")
    (photos / "cat" / "again").symlink_to(tmp_path / "store" / "a")
    (photos / "dog" / "loop").symlink_to(photos / "dog")
    data = opened(photos)
    assert data.names == ("cat/a/0.png", "cat/b/1.png", "dog/2.png")
    told(data, "left out 2 links to folders that are read already")


def test_a_nested_folder_that_may_not_be_listed_is_not_passed_over(tmp_path: Path) -> None:
    save(tmp_path, "cat/0.png", "dog/1.png", "cat/locked/x.png")
    (tmp_path / "cat" / "locked").chmod(0)
    code = "import sys\nfrom catclf.datasets import open_dataset\n"
    code += "try: open_dataset(sys.argv[1])\nexcept Exception as e: print(e)"
    try:
        shown = in_python_without_powers(code, tmp_path)
    finally:
        (tmp_path / "cat" / "locked").chmod(0o700)
    assert shown == f"{tmp_path}/cat/locked: cannot be listed: permission denied\n"


def test_a_part_may_lack_some_of_many_negatives(tmp_path: Path) -> None:
    save(tmp_path, *(f"train/{name}/0.png" for name in ("bird", "cat", "dog")))
    save(tmp_path, *(f"test/{name}/0.png" for name in TWO))
    train, test = open_parts(open_source(tmp_path, ReadOptions(size=SIZE)))
    assert test is not None
    assert train.classes == test.classes == ("non-cat", "cat")
    np.testing.assert_array_equal(test.Y, [[1, 0]])
    other = save(tmp_path / "other", "cow/0.png", "horse/0.png")
    sources = (open_source(path, ReadOptions(size=SIZE)) for path in (tmp_path / "train", other))
    with pytest.raises(DataError, match="cow, horse"):
        open_parts(*sources)


# What archives alone have


@every_archive
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
    archive = stored(tmp_path / "a.zip", {f"train\\{c}\\0.png": image_bytes(1) for c in TWO})
    assert open_source(archive).splits == {"train"}
    assert opened(archive).classes == ("dog", "cat")


def test_the_last_of_a_name_counts_as_when_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for seed, name in enumerate(("cat/0.png", "dog/0.png", "cat/0.png")):
            add(archive, name, image_bytes(seed))
    data = opened(tmp_path / "a.tar")
    assert data.m == 2
    told(data, "holds 1 file twice")
    with tarfile.open(tmp_path / "a.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    np.testing.assert_array_equal(data.images, opened(tmp_path / "unpacked").images)


def test_sizes_that_lie_cost_one_member(tmp_path: Path) -> None:
    names = ("cat/0.png", "cat/1.png", "dog/0.png")
    archive = tar(tmp_path / "a.tar", dict.fromkeys(names, image_bytes(1)))
    info = tarfile.TarInfo("dog/1.png")
    info.size = 10 * 1024**3
    content = archive.read_bytes().rstrip(b"\0")
    content += bytes(-len(content) % 512)
    archive.write_bytes(content + info.tobuf(tarfile.GNU_FORMAT))
    assert "damaged, or not a tar archive" in refusal(archive)
    data = opened(archive, skip_bad=True)
    assert data.m == 3
    told(data, "what is before that is used", "10737418240 bytes, more than")


@pytest.mark.parametrize("source", ["folder", "name"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_class_names_in_unknown_bytes_are_refused(tmp_path: Path, kind: str, source: str) -> None:
    path, between = tmp_path / f"a.{kind}", "/" if source == "folder" else "."

    def write(name: bytes) -> Path:
        files = {f"{n}{between}{i}.png": image_bytes(i) for n in ("xxxxx", "dog") for i in (0, 1)}
        if kind == "zip":
            path.write_bytes(stored(path, files).read_bytes().replace(b"xxxxx", name))
            return path
        return tar(path, {n.replace("xxxxx", os.fsdecode(name)): files[n] for n in files})

    with pytest.raises(DataError, match=r"not in UTF-8, .*: make it anew, or unpack it"):
        opened(write("кошка".encode("cp866")), label_from=source)
    data = opened(write("ящ_".encode()), positive="dog", label_from=source)
    assert data.classes == ("ящ_" if source == "folder" else "ящ", "dog")


def test_archives_of_a_pattern_are_one_source(tmp_path: Path) -> None:
    for number, name in enumerate(TWO):
        tar(tmp_path / f"{number}.tar", {f"{name}/{i}.png": image_bytes(i) for i in range(2)})
    data = opened(tmp_path / "{0..1}.tar")
    assert (data.m, data.classes, data.source) == (4, ("dog", "cat"), "{0..1}.tar")
    assert (data.names or ())[0] == f"{tmp_path}/0.tar:cat/0.png"


def test_equal_names_in_several_archives_are_several_files(tmp_path: Path) -> None:
    for number in range(3):
        tar(tmp_path / f"{number}.tar", {f"{name}/0.png": image_bytes(number) for name in TWO})
    data = opened(tmp_path / "{0..2}.tar")
    assert data.names == tuple(f"{tmp_path}/{i}.tar:{name}/0.png" for name in TWO for i in range(3))
    assert not any("twice" in note for note in data.notes)
    for number in range(3):
        one = opened(tmp_path / f"{number}.tar").images
        np.testing.assert_array_equal(data.images[number::3], one)


# Tables beside the images: metadata.csv and metadata.jsonl of Hugging Face's imagefolder

Table = Sequence[tuple[str, str]]
ROWS: Table = [("0.png", "dog"), ("1.png", "cat"), ("2.png", "cat")]
every_table = pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])


def write(path: Path, rows: Table, columns: tuple[str, str] = ("file_name", "label")) -> None:
    """A table, and an image for each of its rows: its red is the number of the row."""
    save(path.parent, *(name for name, _ in rows))
    if path.suffix == ".csv":
        lines = [",".join(row) for row in (columns, *rows)]
    else:
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
    path.write_text("\n".join(lines))


@every_table
@every_kind
def test_a_table_in_the_folder_labels_its_images(tmp_path: Path, kind: str, name: str) -> None:
    write(tmp_path / "a" / name, ROWS)
    source = packed(tmp_path / "a", kind)
    data = opened(source)
    assert (data.classes, data.Y.tolist(), reds(data)) == (("dog", "cat"), [[0, 1, 1]], [0, 1, 2])
    assert open_source(source).splits == set()
    prefix = "" if kind == "folder" else f"{source}:"
    assert data.names == tuple(f"{prefix}{file}" for file, _ in ROWS)


@every_table
@pytest.mark.parametrize("kind", ["folder", "deflated"])
def test_splits_have_tables_or_share_one(tmp_path: Path, kind: str, name: str) -> None:
    rows = [("5.png", "cat"), ("6.png", "dog")]
    write(tmp_path / "a" / "train" / name, ROWS)
    write(tmp_path / "a" / "validation" / name, rows)
    write(tmp_path / "b" / name, [(f"{part}/{file}", x) for part in BOTH for file, x in rows])
    for folder, trained, tested in (("a", [0, 1, 2], [0, 1]), ("b", [0, 1], [2, 3])):
        (tmp_path / f"in {folder}").mkdir()
        source = packed((tmp_path / folder).rename(tmp_path / f"in {folder}" / folder), kind)
        assert open_source(source).splits == {"train", "test"}
        assert reds(opened(source)) == trained
        assert reds(opened(source, "test")) == tested


def test_columns_of_metadata(tmp_path: Path) -> None:
    write(tmp_path / "a" / "metadata.jsonl", [("0.png", "0"), ("1.png", "1")])
    assert opened(tmp_path / "a", classes=("dog", "cat")).classes == ("dog", "cat")
    path = tmp_path / "b" / "metadata.jsonl"
    write(path, ROWS, ("file_name", "animal"))
    said = refusal(tmp_path / "b")
    assert said.startswith("@/metadata.jsonl: has no column label; it has file_name, animal")
    assert opened(tmp_path / "b", columns=("file_name", "animal")).m == 3
    numbers = [{"file_name": f"{i}.png", "label": i % 2} for i in range(3)]
    path.write_text("\n".join(map(json.dumps, numbers)))
    assert opened(tmp_path / "b").Y.tolist() == [[0, 1, 0]]
    rows = "".join(f"other/{i},{name},{label}\n" for i, (name, label) in enumerate(ROWS))
    fill(tmp_path, {"b/metadata.csv": f"image,file_name,label\n{rows}"})
    assert reds(opened(tmp_path / "b")) == [0, 1, 2]


def test_a_table_of_captions_is_none_and_two_tables_are_one_too_many(tmp_path: Path) -> None:
    rows = [("cat/0.png", "x"), ("dog/1.png", "y")]
    write(tmp_path / "a" / "metadata.csv", rows, ("file_name", "text"))
    data = opened(tmp_path / "a")
    assert data.classes == ("dog", "cat")
    told(data, "left out 1 file: 1 .csv")
    write(tmp_path / "b" / "metadata.csv", ROWS)
    for number in range(2):
        packed(tmp_path / "b", "stored").rename(tmp_path / f"{number}.zip")
    assert "holds metadata.csv twice: give one at a time" in refusal(tmp_path / "*.zip")
    assert opened(tmp_path / "1.zip").m == 3


@every_kind
def test_paths_may_be_spelled_otherwise(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a" / "metadata.csv", [(f"img/{name}", label) for name, label in ROWS])
    text = "file_name,label\nIMG\\0.PNG,dog\nimg/1,cat\nimg/2.png,cat\n"
    (tmp_path / "a" / "metadata.csv").write_text(text)
    data = opened(packed(tmp_path / "a", kind))
    assert reds(data) == [0, 1, 2]
    told(data, "2 paths are spelled otherwise")


@every_archive
@pytest.mark.parametrize("path", ["../secret.png", "{root}/secret.png", "/secret.png"])
def test_paths_do_not_lead_out_of_an_archive(tmp_path: Path, kind: str, path: str) -> None:
    save(tmp_path, "secret.png")
    writer, name = WRITERS[kind]
    text = f"file_name,label\n{path.format(root=tmp_path)},1\n"
    assert "there is no file" in refusal(writer(tmp_path / name, {"metadata.csv": text.encode()}))


def test_images_without_a_row_and_labels_that_contradict_are_told_of(tmp_path: Path) -> None:
    names = [(f"{TWO[i % 2]}/{i}.png", TWO[i % 2]) for i in range(6)]
    write(tmp_path / "metadata.csv", names)
    rows = [(name, "cat" if i < 2 else label) for i, (name, label) in enumerate(names)]
    write(tmp_path / "metadata.csv", rows[:5])
    told(opened(tmp_path), "left out 1 image that have no row in metadata.csv")
    told(opened(tmp_path), "gives 1 image another label than the folder")
    (tmp_path / "metadata.csv").rename(tmp_path / "t.csv")
    told(opened(tmp_path / "t.csv"), "gives 1 image another label than the folder")
