"""Labelled samples in tars, and Parquet files, alone and as shards of one source."""

from __future__ import annotations

import gzip
import io
import json
import math
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive_files import Writer, add, image_bytes, samples, stored, tar
from conftest import fill, told
from parquet_files import IMAGE, write
from PIL import Image

from catclf.datasets import Listing, ReadOptions, open_source
from catclf.datasets.dataset import SPLITS as EVERY_SPLIT
from catclf.datasets.packed import write_folder
from catclf.errors import DataError
from catclf.images.archive import Member
from catclf.images.preprocess import Limits

SIZE = 4
LABELS = [1, 0, 0, 1, 1]
CONTENTS = [image_bytes(seed) for seed in range(8)]
NAMES = ("dog", "cat")
ROWS = [(f"{i}.png", ("cat", "dog")[i % 2]) for i in range(6)]
opened = partial(conftest.opened, size=SIZE)


def refused(path: Path, why: str, **reading: Any) -> None:
    with pytest.raises(DataError, match=why):
        opened(path, **reading)


def pixels(number: int) -> Any:
    """What decoding makes of an image."""
    image = Image.open(io.BytesIO(image_bytes(number)))
    size = (SIZE, SIZE)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3))


# Samples in tars


def objects(**fields: Sequence[object]) -> list[bytes]:
    rows = zip(*fields.values(), strict=True)
    return [json.dumps(dict(zip(fields, row, strict=True))).encode() for row in rows]


@pytest.mark.parametrize(
    ("ending", "contents", "classes"),
    [
        ("cls", [b"1", b"0", b"0\n", b"1", b" 1 "], ("non-cat", "cat")),
        ("cls", [b"cat", b"dog", b"dog", b"cat", b"cat"], ("dog", "cat")),
        ("cls", [b"f\xe9e", b"dog", b"dog", b"f\xe9e", b"f\xe9e"], ("dog", "f\u00e9e")),
        ("txt", [b"cat", b"dog\n", b"dog", b"cat", b"\xef\xbb\xbfcat"], ("dog", "cat")),
        ("json", objects(url="xxxxx", label=LABELS), ("non-cat", "cat")),
        ("json", objects(Class=[f"c{label}" for label in LABELS]), ("c0", "c1")),
    ],
)
def test_labels_are_files_beside_images(
    tmp_path: Path, ending: str, contents: list[bytes], classes: tuple[str, str]
) -> None:
    files = samples(contents, ending)
    apart = dict(sorted(files.items(), key=lambda item: item[0][::-1]))
    path = tar(tmp_path / "a.tar", files)
    data = opened(path, positive=classes[1])
    assert (data.Y.tolist(), data.classes) == ([LABELS], classes)
    assert data.names == tuple(f"{path}:{number:06d}.png" for number in range(5))
    for number, image in enumerate(data.images):
        np.testing.assert_array_equal(image, pixels(number))
    other = opened(tar(tmp_path / "b.tar", apart), positive=classes[1])
    assert (list(apart) != list(files), other.fingerprint) == (True, data.fingerprint)


@pytest.mark.parametrize(
    ("keys", "label"),
    [(("png", "cls"), 1), (("seg.png", ".CLS"), 1), (("png", "age"), 0), (("png", "json"), 1)],
)
def test_keys_say_which_files_are_used(tmp_path: Path, keys: tuple[str, str], label: float) -> None:
    files = {}
    for number in range(2):
        files[f"a/{number}.png"] = image_bytes(number)
        files[f"a/{number}.seg.png"] = image_bytes(9 + number)
        files[f"a/{number}.cls"] = str(number).encode()
        files[f"a/{number}.json"] = json.dumps({"age": 1 - number, "label": number}).encode()
    path = tar(tmp_path / "a.tar", files)
    data = opened(path, keys=keys)
    assert data.names == tuple(f"{path}:a/{number}.{keys[0]}" for number in range(2))
    assert data.Y.tolist() == [[1 - label, label]]
    assert opened(path).names == tuple(f"{path}:a/{number}.png" for number in range(2))


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}.input.jpg", "{}.cls"),
        ("{}.in.png", "{}.out.cls"),
        ("{}.jpg", "{}.class.txt"),
        ("a.b.{}.jpg", "a.b.{}.cls"),
        ("./{}.jpg", "{}.txt"),
    ],
)
def test_keys_are_found_whatever_dots_they_have(tmp_path: Path, image: str, label: str) -> None:
    files = {}
    for i, (_, name) in enumerate(ROWS):
        files[image.format(i)], files[label.format(i)] = image_bytes(i), name.encode()
    assert opened(tar(tmp_path / "a.tar", files)).Y.tolist() == [[1, 0, 1, 0, 1, 0]]


def test_what_is_not_used_is_counted(tmp_path: Path) -> None:
    files = samples(LABELS, "cls") | {"000000.txt": b"a caption", "x.json": b"{}"}
    files |= {".hidden.cls": b"1", "__MACOSX/000000.png": b"x"}
    data = opened(tar(tmp_path / "a.tar", files))
    told(data, "the label is .cls", "left out 1 sample without an image")
    told(data, "left out 2 files: 1 .txt, 1 .json")


@pytest.mark.parametrize(
    ("ending", "content", "why"),
    [
        ("cls", b"", r"000001\.cls: is empty: mend it"),
        ("cls", b" ", "holds no label, which is a name or an integer"),
        ("cls", b"1\n2\n", "holds no label"),
        ("json", b"{", r"000001\.json: is no JSON"),
        ("json", b"[" * 100_000, r"000001\.json: is no JSON"),
        ("json", b"[]", r"000001\.json: is no object"),
        ("json", b'{"caption": "x"}', "has no label; it has caption"),
        ("json", b'{"label": [1]}', "holds no label"),
        ("json", b'{"label": 1.5}', "holds no label"),
        ("json", b" " * (2 << 20), "more than 1048576"),
        ("txt", b"x" * 300, "holds no label"),
    ],
)
def test_a_label_that_is_none_is_named_or_left_out(
    tmp_path: Path, ending: str, content: bytes, why: str
) -> None:
    good = {"json": [b'{"label": 0}', b'{"label": 1}']}.get(ending, [b"0", b"1"])
    path = tar(tmp_path / "a.tar", samples((good[0], content, good[1]), ending))
    refused(path, why)
    data = opened(path, skip_bad=True)
    assert data.m == 2
    told(data, "left out 1 sample without a label: ")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (
            {f"{i}.{end}": f"caption {i}".encode() for i in range(1100) for end in ("png", "txt")},
            "1100 different texts, no classes: `keys=jpg,label`",
        ),
        (
            samples([b'{"caption": "x", "sha256": "y"}'] * 2, "json"),
            r"a\.tar:000000\.json: has no label; it has caption, sha256: `keys=jpg,label` says",
        ),
        (
            samples([0, 1], "cls") | {"000001.jpg": image_bytes(5, "JPEG")},
            r"has several images, png and jpg: `keys=png",
        ),
    ],
)
def test_samples_whose_label_or_image_is_not_plain_are_refused(
    tmp_path: Path, files: dict[str, bytes], why: str
) -> None:
    refused(tar(tmp_path / "a.tar", files), why)


def test_class_folders_with_captions_are_class_folders(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for number, name in enumerate(("cat", "dog")):
        files |= {f"{name}/0.png": image_bytes(number), f"{name}/0.txt": b"a %s" % name.encode()}
    path = tar(tmp_path / "a.tar", files)
    assert opened(path).classes == ("dog", "cat")
    assert opened(path, keys=("png", "txt")).classes == ("a cat", "a dog")
    only_zip = stored(tmp_path / "a.zip", samples([0, 1], "cls"))
    refused(only_zip, "holds no class folders")


def test_a_link_is_no_image_and_no_label(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in samples([0, 1], "cls").items():
            add(archive, name, content)
        add(archive, "000002.png", image_bytes(7))
        add(archive, "000002.cls", type=tarfile.SYMTYPE, linkname=str(tmp_path / "secret"))
    refused(tmp_path / "a.tar", r"000002\.png: has no \.cls")


def test_a_damaged_shard_is_left_out_from_there_on(tmp_path: Path) -> None:
    for shard in range(2):
        tar(tmp_path / f"s-{shard}.tar", samples([0, 1, 0], "cls"))
    path = tmp_path / "s-1.tar"
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"000002.cls") + 300])
    refused(tmp_path / "s-*.tar", r"s-1\.tar: is damaged, or not a tar archive")
    data = opened(tmp_path / "s-*.tar", skip_bad=True)
    assert data.m == 5
    told(data, "s-1.tar: is damaged")
    (tmp_path / "s-0.tar").write_bytes(b"no tar at all")
    assert opened(tmp_path / "s-*.tar", keys=("png", "cls"), skip_bad=True).m == 2
    path.write_bytes(b"")
    refused(tmp_path / "s-*.tar", "s-0.tar: is damaged", keys=("png", "cls"), skip_bad=True)


# Parquet files


def rows_of(path: Path, **reading: Any) -> Listing:
    return open_source(path, ReadOptions(size=SIZE, **reading)).split("train")


def content_of(rows: Listing, row: int) -> bytes:
    member = rows.path(row)
    assert isinstance(member, Member)
    with member.open(Limits()) as file:
        return file.read()


@pytest.mark.parametrize("group", [1, 3, 100])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_rows_have_the_pixels_of_files(tmp_path: Path, group: int, compression: str) -> None:
    labels = [0, 1, 1, 0, 1, 0, 0, 1]
    path = tmp_path / "a.parquet"
    data = opened(write(path, CONTENTS, labels, NAMES, group=group, compression=compression))
    assert (data.classes, data.Y.tolist()) == (NAMES, [labels])
    assert data.names == tuple(f"{path}:{number}.png" for number in range(8))
    np.testing.assert_array_equal(data.images, [pixels(number) for number in range(8)])


@pytest.mark.parametrize(
    ("labels", "names", "classes", "y"),
    [
        (["dog", "cat", "dog"], (), NAMES, [0, 1, 0]),
        (pa.array(["dog", "cat", "dog"]).dictionary_encode(), (), NAMES, [0, 1, 0]),
        ([0, 1, 0], (), ("non-cat", "cat"), [0, 1, 0]),
        ([0, 1, 0], ("0", "1"), ("0", "1"), [0, 1, 0]),
        ([False, True, False], (), ("non-cat", "cat"), [0, 1, 0]),
        ([0.0, 1.0, 0.0], (), ("non-cat", "cat"), [0, 1, 0]),
        ([7, 1234567, 7], (), ("1234567", "7"), [1, 0, 1]),
    ],
)
def test_labels_may_be_texts_or_numbers(
    tmp_path: Path, labels: Any, names: tuple[str, ...], classes: tuple[str, str], y: list[int]
) -> None:
    data = opened(write(tmp_path / "a.parquet", CONTENTS[:3], labels, names))
    assert (data.classes, data.Y.tolist()) == (classes, [y])


def test_images_may_be_bytes_alone_and_columns_are_named(tmp_path: Path) -> None:
    table = pa.table({"a": CONTENTS[:2], "b": CONTENTS[2:4], "kind": ["x", "y"]})
    pq.write_table(table, tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "several columns of images, a and b: `columns=image,label`")
    data = opened(tmp_path / "a.parquet", columns=("b", "kind"))
    assert data.names == tuple(f"{tmp_path}/a.parquet:{row}" for row in range(2))
    pq.write_table(table.drop_columns(["a"]), tmp_path / "b.parquet")
    refused(tmp_path / "b.parquet", "has no labels in a column label; it has b, kind")
    assert opened(tmp_path / "b.parquet", keys=("b", "kind")).m == 2


def test_a_path_without_bytes_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(CONTENTS[0])
    rows = [{"bytes": None, "path": str(secret)}, *({"bytes": x} for x in CONTENTS[:2]), None]
    columns = {"image": pa.array(rows, IMAGE), "label": [0, 1, 0, 1]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", r"secret\.png, .* \(has no bytes in its file, at most a path")
    assert opened(tmp_path / "a.parquet", skip_bad=True).m == 2


def test_damaged_images_are_named_or_left_out(tmp_path: Path) -> None:
    images = [*CONTENTS[:4], b"", CONTENTS[4][:60], b"no image"]
    path = write(tmp_path / "a.parquet", images, [0, 1, 0, 1, 0, 1, 0], NAMES)
    refused(path, r"3 images cannot be read: .*a\.parquet:4\.png \(is empty\); .*a\.parquet:5\.png")
    assert opened(path, skip_bad=True).m == 4
    refused(path, "more than", limits=Limits(file_bytes=len(min(CONTENTS, key=len)) - 1))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, None, 1], NAMES),
        ([0, -1, 1], NAMES),
        (["a", None, "b"], ()),
        (["a", "", "b"], ()),
        ([0, math.nan, 1], ()),
    ],
)
def test_missing_labels_are_named_or_left_out(
    tmp_path: Path, labels: list[Any], names: tuple[str, ...]
) -> None:
    path = write(tmp_path / "a.parquet", CONTENTS[:3], labels, names)
    refused(path, r"a\.parquet:1\.png has no label.*, as 1 of 3 images")
    data = opened(path, skip_bad=True)
    assert data.names == tuple(f"{path}:{row}.png" for row in (0, 2))
    np.testing.assert_array_equal(data.images, [pixels(0), pixels(2)])


@pytest.mark.parametrize(
    "facts", ["", "{", "[]", '{"info": 1}', json.dumps({"info": {"features": {"label": []}}})]
)
def test_facts_that_are_none_name_no_classes(tmp_path: Path, facts: str) -> None:
    table = pq.read_table(write(tmp_path / "a.parquet", CONTENTS[:2], [0, 1]))
    pq.write_table(table.replace_schema_metadata({"huggingface": facts}), tmp_path / "a.parquet")
    assert opened(tmp_path / "a.parquet").classes == ("non-cat", "cat")


def test_labels_have_names_and_files_have_the_same_ones(tmp_path: Path) -> None:
    refused(write(tmp_path / "0.parquet", CONTENTS[:2], [0, 5], NAMES), "has label 5")
    write(tmp_path / "0.parquet", CONTENTS[:2], [0, 1], NAMES)
    write(tmp_path / "1.parquet", CONTENTS[:2], [0, 1], NAMES[::-1])
    refused(tmp_path / "*.parquet", r"1\.parquet: has other class names")


def test_rows_may_be_taken_in_any_grouping(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.parquet", CONTENTS[4 * number :][:4], [0, 1, 0, 1], NAMES)
    whole = rows_of(tmp_path / "*.parquet")
    images = opened(tmp_path / "*.parquet").images
    for rows in ([0, 1, 5], [7], [2, 3, 4], [1, 2, 3, 4, 5, 6, 7]):
        some = whole.select(np.array(rows))
        blocks = [block for _, block in some.blocks()]
        np.testing.assert_array_equal(np.concatenate(blocks), images[rows])
        assert some.names() == [(whole.names() or ())[row] for row in rows]
    for row in (6, 0, 3, 3, 2, 7):  # back and forth
        assert content_of(whole, row) == CONTENTS[row]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"PAR1" + bytes(100) + b"PAR1", "damaged, or not a Parquet file"),
        (b"no Parquet at all" * 10, "damaged, or not a Parquet file"),
    ],
)
def test_what_is_no_parquet_file_is_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    refused(tmp_path / "a.parquet", why)
    write(tmp_path / "b.parquet", CONTENTS[:2], [0, 1], NAMES)
    refused(tmp_path / "*.parquet", "a.parquet: is damaged")
    data = opened(tmp_path / "*.parquet", skip_bad=True)
    assert data.m == 2
    told(data, "a.parquet: is damaged")


def test_only_a_few_images_are_held_at_a_time(tmp_path: Path) -> None:
    images = [bytes(200_000) + bytes([number]) for number in range(100)]
    pages = {"use_dictionary": False, "write_batch_size": 4, "group": 100}
    path = write(tmp_path / "a.parquet", images, [0, 1] * 50, **pages)  # type: ignore[arg-type]
    before = pa.total_allocated_bytes()
    whole, most = rows_of(path), 0
    for row in range(100):
        assert content_of(whole, row) == images[row]
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 5_000_000  # of 20 MB in one row group


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    images = [image_bytes(1), *[bytes(500_000)] * 3]
    path = write(tmp_path / "a.parquet", images, [0, 1, 0, 1], NAMES, compression="zstd", group=4)
    why = r"4 images cannot be read: .* \(is in a row group of \d+ bytes that would"
    refused(path, why, limits=Limits(file_bytes=10_000))
    table = pa.table({"image": pa.nulls(100_000, IMAGE), "label": [0] * 100_000})
    pq.write_table(table, tmp_path / "b.parquet")
    refused(tmp_path / "b.parquet", r"is damaged: it has 100000 rows in \d+ bytes")


# Shards


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_shards_are_one_source_with_the_splits_of_their_names(tmp_path: Path, kind: str) -> None:
    for number, part in enumerate(("train", "train", "validation", "test")):
        path = tmp_path / f"{part}-{number:05d}-of-00004.{kind}"
        if kind == "tar":
            tar(path, samples([0, 1], "cls", number))
        else:
            write(path, CONTENTS[number : number + 2], [0, 1])
    pattern = tmp_path / f"*.{kind}"
    assert open_source(pattern).splits == {"train", "validation", "test"}
    data = opened(pattern)
    assert data.Y.tolist() == [[0, 1] * 2]
    first = "000001.png" if kind == "tar" else "0.png"
    assert (data.names or ())[2] == f"{tmp_path}/train-00001-of-00004.{kind}:{first}"
    np.testing.assert_array_equal(data.images, [pixels(n) for n in (0, 1, 1, 2)])
    assert opened(pattern, "test").m == 2
    assert opened(tmp_path / f"test-00003-of-00004.{kind}", "train").m == 2
    train = tmp_path / f"train-{{00000..00001}}-of-00004.{kind}"
    np.testing.assert_array_equal(opened(train, skip_bad=True).images, data.images)


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
        refused(tmp_path, f"{missing} is missing among its files")
    assert opened(tmp_path, skip_bad=True).m == 4 * names.count("train")


def test_a_folder_of_packed_archives_is_read_as_one_of_archives(tmp_path: Path) -> None:
    files = {f"{label}/{name}": image_bytes(i) for i, (name, label) in enumerate(ROWS)}
    content = gzip.compress(tar(tmp_path / "x", files).read_bytes())
    fill(tmp_path / "d", {f"{split}.tar.gz": content for split in ("train", "test")})
    assert open_source(tmp_path / "d").splits == {"train", "test"}
    told(opened(tmp_path / "d", "test"), "holds 2 archives of images, as test.tar.gz, train.tar.gz")


def test_parquet_tables_of_paths_and_a_folder_as_it_was_downloaded(tmp_path: Path) -> None:
    fill(tmp_path / "d", {name: image_bytes(i) for i, (name, _) in enumerate(ROWS)})
    columns = {"file_name": [a for a, _ in ROWS], "label": [b for _, b in ROWS]}
    pq.write_table(pa.table(columns), tmp_path / "d" / "metadata.parquet")
    assert opened(tmp_path / "d").m == opened(tmp_path / "d" / "metadata.parquet").m == 6
    hub = fill(tmp_path / "hub", {"README.md": "about", "assets/logo.png": image_bytes(1)})
    for split, count in (("train", 2), ("test", 1)):
        (hub / "default" / split).mkdir(parents=True)
        for number in range(count):
            path = hub / "default" / split / f"{number:04d}.parquet"
            write(path, CONTENTS[:4], [0, 1, 0, 1], NAMES)
    assert open_source(hub).splits == {"train", "test"}
    assert (opened(hub).m, opened(hub, "test").m) == (8, 4)


SPLITS = ("train", "train", "val", "val", "test", "test")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "zip", "parquet", "json in tar", "tar"])
def test_splits_and_groups_of_rows_are_those_of_any_container(tmp_path: Path, kind: str) -> None:
    facts = [
        {"file_name": name, "label": label, "split": split, "group": f"g{i // 3}"}
        for i, ((name, label), split) in enumerate(zip(ROWS, SPLITS, strict=True))
    ]
    path = tmp_path / f"t.{kind.removeprefix('json in ')}"
    text = "\n".join(["file_name,label,split,group", *(",".join(f.values()) for f in facts)])
    contents = {name: image_bytes(i) for i, (name, _) in enumerate(ROWS)}
    match kind:
        case "csv":
            fill(tmp_path, {"t.csv": text, **contents})
        case "jsonl":
            fill(tmp_path, {"t.jsonl": "\n".join(map(json.dumps, facts)), **contents})
        case "zip":
            stored(path, {**contents, "metadata.csv": text.encode()})
        case "parquet":
            columns = {key: [each[key] for each in facts] for key in ("label", "split", "group")}
            rows = pa.array([{"bytes": each} for each in contents.values()], IMAGE)
            pq.write_table(pa.table({"image": rows, **columns}), path)
        case "json in tar":
            tar(path, contents | {f"{i}.json": json.dumps(f).encode() for i, f in enumerate(facts)})
        case "tar":
            files = {}
            for i, each in enumerate(facts):
                files[f"./{each['split']}/{i}.png"] = image_bytes(i)
                files[f"{each['split']}/{i}.cls"] = each["label"].encode()
            tar(path, files)
    assert open_source(path).splits == {"train", "validation", "test"}
    for split, first in zip(EVERY_SPLIT, (0, 2, 4), strict=True):
        data = opened(path, split)
        assert data.classes == ("dog", "cat")
        told(data, f"2 rows of {split}")
        np.testing.assert_array_equal(data.images, [pixels(first), pixels(first + 1)])
        groups = None if data.groups is None else data.groups.tolist()
        assert groups == (None if kind == "tar" else [0, int(split == "validation")])


def test_groups_of_a_table_stay_with_its_images(tmp_path: Path) -> None:
    rows = [",".join((*row, group)) for row, group in zip(ROWS, ["a", "", "b"] * 2, strict=True)]
    fill(tmp_path, {name: image_bytes(i) for i, (name, _) in enumerate(ROWS)})
    fill(tmp_path, {"t.csv": "\n".join(["path,label,group", *rows])})
    data = opened(tmp_path / "t.csv")
    assert data.groups is not None
    assert data.groups.tolist() == [0, -1, 1] * 2
    (tmp_path / "packed").mkdir()
    write_folder(tmp_path / "packed", {"train": rows_of(tmp_path / "t.csv")}, shard_images=4)
    packed = opened(tmp_path / "packed")
    assert packed.groups is not None
    assert packed.groups.tolist() == data.groups.tolist()
    assert packed.fingerprint == data.fingerprint
    assert packed.digests(near=True).near
