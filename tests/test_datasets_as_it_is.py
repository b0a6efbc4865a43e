"""Data as people have them, and as strangers make them: read, told of, or refused with a cure."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import conftest
import numpy as np
import pytest
from archive_files import Writer, image_bytes, stored, tar
from PIL import Image

from catclf.datasets import ReadOptions, open_dataset, open_source
from catclf.datasets.arrays import role_of
from catclf.datasets.dataset import SPLITS as EVERY_SPLIT
from catclf.datasets.folders import find_layout
from catclf.datasets.names import label_in_name, negated, split_named, split_of_shard
from catclf.datasets.packed import load, write_folder
from catclf.datasets.table import find_label
from catclf.errors import DataError
from catclf.images.archive import Entry
from catclf.images.preprocess import Limits
from catclf.images.tree import Folder

ROWS = [(f"{i}.png", ("cat", "dog")[i % 2]) for i in range(6)]


opened = partial(conftest.opened, size=8)


def images(folder: Path, names: list[str] | None = None) -> Path:
    for i, name in enumerate(names or [name for name, _ in ROWS]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image_bytes(i))
    return folder


def table(path: Path, rows: Sequence[tuple[str, ...]], header: str = "path,label") -> Path:
    path.write_text("\n".join([header, *map(",".join, rows)]) + "\n")
    return path


LONG = [
    "1" * 10_000,
    "dataset" * 1_400,
    "a1_" * 3_300,
    "train" * 2_000,
    "(1)" * 3_300,
    "-._ " * 2_500,
    "no" + " " * 10_000 + "\nx",
    "e" + "\u0301\u0327" * 50_000,
]


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


def test_rows_that_lead_out_of_the_folder_are_read_if_that_was_asked_for(tmp_path: Path) -> None:
    images(tmp_path / "here")
    images(tmp_path / "away")
    rows = [(f"../away/{name}", label) for name, label in ROWS[:4]]
    path = table(tmp_path / "here" / "t.csv", [*ROWS[4:], *rows])
    with pytest.raises(DataError, match=r"4 paths of 6 lead out of its folder, .*`outside`"):
        opened(path)
    assert opened(path, outside=True).m == 6
    inside = [(str(tmp_path / "here" / name), label) for name, label in ROWS]
    assert opened(table(path, inside)).m == 6
    metadata = table(tmp_path / "here" / "metadata.csv", inside, "file_name,label")
    with pytest.raises(DataError, match="6 paths of 6 lead out"):
        opened(metadata.parent)


def test_urls_in_rows_are_fetched_if_that_was_asked_for(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    images(tmp_path)
    fsspec.filesystem("memory").pipe("/rows/a.png", image_bytes(9))
    path = table(tmp_path / "t.csv", [*ROWS, ("memory://rows/a.png", "cat")])
    with pytest.raises(DataError, match=r"line 8: memory://rows/a\.png is a URL.*allow_remote"):
        opened(path)
    assert opened(path, skip_bad=True).m == 6
    data = opened(path, remote_rows=True)
    image = Image.open(io.BytesIO(image_bytes(9))).resize(
        (8, 8), Image.Resampling.BICUBIC, reducing_gap=3
    )
    np.testing.assert_array_equal(data.images[6], np.asarray(image))


def test_a_table_beside_the_folder_of_its_images(tmp_path: Path) -> None:
    images(tmp_path / "train_images")
    data = opened(table(tmp_path / "train.csv", ROWS, "id,label"))
    assert data.m == 6
    images(tmp_path / "test_images")  # has the same names
    data = opened(tmp_path / "train.csv")
    assert any("its images are those in train_images" in note for note in data.notes)
    with pytest.raises(DataError, match="a form for answers"):
        opened(table(tmp_path / "sample_submission.csv", ROWS, "id,label"))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv.gz", lambda p: p.write_bytes(gzip.compress(table(p, ROWS).read_bytes()))),
        (
            "t.ndjson.gz",
            lambda p: p.write_bytes(
                gzip.compress(
                    b"".join(
                        b'{"path": "%s", "label": "%s"}\n' % (a.encode(), b.encode())
                        for a, b in ROWS
                    )
                )
            ),
        ),
        ("t.txt", lambda p: p.write_text("".join(f"{a} {b}\n" for a, b in ROWS))),
    ],
)
def test_tables_of_other_forms(tmp_path: Path, name: str, write: Callable[[Path], object]) -> None:
    images(tmp_path)
    write(tmp_path / name)
    data = opened(tmp_path / name)
    assert (data.m, data.classes) == (6, ("dog", "cat"))


def test_groups_of_a_table_stay_with_its_images(tmp_path: Path) -> None:
    images(tmp_path)
    rows = [(*row, group) for row, group in zip(ROWS, ("a", "", "b", "a", "", "b"), strict=True)]
    data = opened(table(tmp_path / "t.csv", rows, "path,label,group"))
    assert data.groups is not None
    assert data.groups.tolist() == [0, -1, 1, 0, -1, 1]
    listing = open_source(tmp_path / "t.csv", ReadOptions(size=8)).split()
    (tmp_path / "packed").mkdir()
    write_folder(tmp_path / "packed", {"train": listing}, shard_images=4)
    packed = opened(tmp_path / "packed")
    assert packed.groups is not None
    assert packed.groups.tolist() == data.groups.tolist()
    assert packed.fingerprint == data.fingerprint
    assert packed.digests(near=True).near


def test_parquet_tables_of_paths_and_a_folder_as_it_was_downloaded(tmp_path: Path) -> None:
    parquet = pytest.importorskip("parquet_files")
    images(tmp_path / "d")
    columns = {"file_name": [a for a, _ in ROWS], "label": [b for _, b in ROWS]}
    parquet.pq.write_table(parquet.pa.table(columns), tmp_path / "d" / "metadata.parquet")
    assert opened(tmp_path / "d").m == opened(tmp_path / "d" / "metadata.parquet").m == 6
    hub = tmp_path / "hub" / "default"
    for split, count in (("train", 2), ("test", 1)):
        (hub / split).mkdir(parents=True)
        contents = [image_bytes(i) for i in range(4)]
        for number in range(count):
            name = f"{number:04d}.parquet"
            parquet.write(hub / split / name, contents, [0, 1, 0, 1], ("dog", "cat"))
    (tmp_path / "hub" / "README.md").write_text("about")
    images(tmp_path / "hub" / "assets", ["logo.png"])
    assert open_source(tmp_path / "hub").splits == {"train", "test"}
    assert (opened(tmp_path / "hub").m, opened(tmp_path / "hub", "test").m) == (8, 4)


PNG = image_bytes(1)
ARROW = {"d/train/state.json": b"{}", "d/train/data-0-of-1.arrow": b"x", "d/test/a.arrow": b"x"}


@pytest.mark.parametrize(
    ("files", "source", "why"),
    [
        (ARROW, "d", "written by save_to_disk as .arrow files: `dataset.to_parquet"),
        (ARROW, "d/train", "written by save_to_disk as .arrow files: `dataset.to_parquet"),
        (ARROW, "d/test/a.arrow", "Arrow files are not read: `dataset.to_parquet"),
        ({"train_images/1.png": PNG, "test_images/2.png": PNG, "sample_submission.csv": b"id,label",
          "train.csv": b"id,label\n1,cat"}, "", "holds train.csv, .*: give `data=.*train.csv"),
        ({"cat/1.png": PNG, "dog.zip": b"PK"}, "", "holds dog.zip: give `data="),
        ({"cat.7z": b"7z\xbc\xaf"}, "cat.7z", "7z archive: unpack it"),
    ],
)  # fmt: skip
def test_the_way_out_is_named(
    tmp_path: Path, files: dict[str, bytes], source: str, why: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=why):
        opened(tmp_path / source)


def test_a_folder_of_packed_archives_is_read_as_one_of_archives(tmp_path: Path) -> None:
    for split in ("train", "test"):
        files = {f"{label}/{i}.png": image_bytes(i) for i, (_, label) in enumerate(ROWS)}
        content = tar(tmp_path / f"{split}.tar", files).read_bytes()
        (tmp_path / f"{split}.tar").unlink()
        (tmp_path / f"{split}.tar.gz").write_bytes(gzip.compress(content))
    assert open_source(tmp_path).splits == {"train", "test"}
    assert opened(tmp_path, "test").m == 6


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ("train-00000-of-00003 train-00002-of-00003", "train-00001-of-00003"),
        ("train-00000-of-00002", "train-00001-of-00002"),
        ("train-1-of-3 train-3-of-3", "train-2-of-3"),
        ("train_0_of_2 test_0_of_1", "train_1-of-2"),
        ("train-1-of-2 train-2-of-2", None),
        ("train-0-of-2 test-1-of-2", None),
    ],
)
@pytest.mark.parametrize("writer", [tar, stored])
def test_a_shard_that_is_missing_of_a_counted_series(
    tmp_path: Path, writer: Writer, names: str, missing: str | None
) -> None:
    files = {f"{label}/{name}": image_bytes(i) for i, (name, label) in enumerate(ROWS[:4])}
    for name in names.split():
        writer(tmp_path / f"{name}.{'tar' if writer is tar else 'zip'}", files)
    if missing is not None:
        with pytest.raises(DataError, match=f"{missing} is missing among its files"):
            opened(tmp_path)
    assert opened(tmp_path, skip_bad=True).m == 4 * names.count("train")


SPLITS = ("train", "train", "val", "val", "test", "test")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "zip", "parquet", "json in tar", "tar"])
def test_splits_and_groups_of_rows_are_those_of_any_container(tmp_path: Path, kind: str) -> None:
    facts = [
        {"file_name": name, "label": label, "split": split, "group": f"g{i // 3}"}
        for i, ((name, label), split) in enumerate(zip(ROWS, SPLITS, strict=True))
    ]
    path, lines = tmp_path / f"t.{kind[-7:]}", [",".join(each.values()) for each in facts]
    contents = {name: image_bytes(i) for i, (name, _) in enumerate(ROWS)}
    match kind:
        case "csv":
            path.write_text("\n".join(["file_name,label,split,group", *lines]))
        case "jsonl":
            path.write_text("\ufeff" + "\n".join(map(json.dumps, facts)))
        case "zip":
            text = "\n".join(["file_name,label,split,group", *lines]).encode()
            stored(path, {**contents, "metadata.csv": text})
        case "parquet":
            parquet = pytest.importorskip("parquet_files")
            columns = {key: [each[key] for each in facts] for key in ("label", "split", "group")}
            rows = parquet.pa.array([{"bytes": each} for each in contents.values()], parquet.IMAGE)
            parquet.pq.write_table(parquet.pa.table({"image": rows, **columns}), path)
        case "json in tar":
            path = tar(
                tmp_path / "t.tar",
                contents | {f"{i}.json": json.dumps(each).encode() for i, each in enumerate(facts)},
            )
        case "tar":
            files = {}
            for i, each in enumerate(facts):
                files[f"./{each['split']}/{i}.png"] = image_bytes(i)
                files[f"{each['split']}/{i}.cls"] = each["label"].encode()
            tar(path, files)
    if kind in ("csv", "jsonl"):
        images(tmp_path)
    assert open_source(path).splits == {"train", "validation", "test"}
    for split, first in zip(EVERY_SPLIT, (0, 2, 4), strict=True):
        data = opened(path, split)
        assert data.classes == ("dog", "cat")
        assert any(f"2 rows of {split}" in note for note in data.notes)
        alone = Image.open(io.BytesIO(image_bytes(first))).resize(
            (8, 8), Image.Resampling.BICUBIC, reducing_gap=3
        )
        np.testing.assert_array_equal(data.images[0], np.asarray(alone))
        if kind != "tar":
            assert data.groups is not None
            assert data.groups.tolist() == ([0, 1] if split == "validation" else [0, 0])


@pytest.mark.parametrize(
    ("image", "label"),
    [("{}.input.jpg", "{}.cls"), ("{}.in.png", "{}.out.cls"), ("{}.jpg", "{}.class.txt"),
     ("a.b.{}.jpg", "a.b.{}.cls"), ("./{}.jpg", "{}.txt")],
)  # fmt: skip
def test_keys_of_samples_are_found_whatever_dots_they_have(
    tmp_path: Path, image: str, label: str
) -> None:
    files = {}
    for i, (_, name) in enumerate(ROWS):
        files[image.format(i)], files[label.format(i)] = image_bytes(i), name.encode()
    assert opened(tar(tmp_path / "a.tar", files)).Y.tolist() == [[1, 0, 1, 0, 1, 0]]


def test_what_is_there_twice_in_a_table_is_told_of(tmp_path: Path) -> None:
    images(tmp_path)
    path = table(tmp_path / "t.csv", [(*row, "x") for row in ROWS], "path,label,label")
    assert any("2 columns label, of which the first" in note for note in opened(path).notes)
    (tmp_path / "t.jsonl").write_text('{"path": "0.png", "label": "a", "label": "b"}')
    with pytest.raises(DataError, match="line 1: is no JSON: a key is there twice"):
        opened(tmp_path / "t.jsonl")


def test_images_without_a_row_and_labels_that_contradict_are_told_of(tmp_path: Path) -> None:
    images(tmp_path, [f"{label}/{name}" for name, label in ROWS])
    rows = [(f"{label}/{name}", "cat" if i < 2 else label) for i, (name, label) in enumerate(ROWS)]
    table(tmp_path / "metadata.csv", rows[:5], "file_name,label")
    notes = " ".join(opened(tmp_path).notes)
    assert "left out 1 image that have no row in metadata.csv" in notes
    assert "gives 1 image another label than the folder" in notes
    typed = opened(table(tmp_path / "t.csv", rows))  # a table that was named, too
    assert any("gives 1 image another label than the folder" in note for note in typed.notes)


@pytest.mark.parametrize("ending", ["h5", "npz", "csv", "jsonl", "zip", "tar", "tar.gz", "parquet"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (b"Rar!\x1a\x07\1\0" + bytes(99), "rar archive"),
    ],
)
def test_what_lies_in_the_place_of_a_data_set_is_named(
    tmp_path: Path, ending: str, content: bytes, why: str
) -> None:
    (tmp_path / f"a.{ending}").write_bytes(content)
    with pytest.raises(DataError, match=f"(?i){why}"):
        opened(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("source", ["folder", "name"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_class_names_of_archives_in_an_unknown_encoding_are_refused(
    tmp_path: Path, kind: str, source: str
) -> None:
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


@pytest.mark.parametrize("kind", ["tar", "csv", "npz"])
def test_labels_in_windows_1252_are_read_and_told_of(tmp_path: Path, kind: str) -> None:
    path, labels = tmp_path / f"a.{kind}", [b"f\xe9e", b"dog"] * 2
    if kind == "tar":
        files = {f"{i}.png": image_bytes(i) for i in range(4)}
        tar(path, files | {f"{i}.cls": label for i, label in enumerate(labels)})
    elif kind == "csv":
        images(tmp_path)
        path.write_bytes(b"path,label\n" + b"".join(b"%d.png,%s\n" % x for x in enumerate(labels)))
    else:
        np.savez(path, x=np.arange(4 * 192, dtype=np.uint8).reshape(4, 8, 8, 3), y=labels)
    data = opened(path, positive="dog")
    assert data.classes == ("fée", "dog")
    assert any("labels that are not in UTF-8, read as Windows-1252" in n for n in data.notes)


def test_shards_are_kept_if_they_were_decoded_alike(tmp_path: Path) -> None:
    images(tmp_path / "d", [f"{label}/{name}" for name, label in ROWS])
    (tmp_path / "packed").mkdir()

    def kept(**options: object) -> int:
        listing = open_source(tmp_path / "d", ReadOptions(size=8, **options)).split()  # type: ignore[arg-type]
        return write_folder(tmp_path / "packed", {"train": listing}, shard_images=4)["train"].kept

    assert (kept(), kept(), kept(limits=Limits(10_000))) == (0, 2, 0)
    assert (kept(limits=Limits(10_000, truncated=True)), kept()) == (0, 0)
    assert [each.images for each in load(tmp_path / "packed").splits["train"].shards] == [4, 2]


@pytest.mark.parametrize("kind", ["floats", "grey", "planes", "opacity", "flat"])
def test_arrays_from_python_follow_the_rules_of_stored_ones(kind: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    given = {
        "floats": x / 255,
        "grey": x[..., 0],
        "planes": np.moveaxis(x, 3, 1),
        "opacity": np.concatenate([x, np.full((6, 8, 8, 1), 255, np.uint8)], axis=3),
        "flat": x.reshape(6, -1),
    }[kind]
    data = open_dataset(given, labels=[0, 1] * 3)
    expected = np.repeat(x[..., :1], 3, axis=3) if kind == "grey" else x
    np.testing.assert_array_equal(data.images, expected)
    assert data.notes
