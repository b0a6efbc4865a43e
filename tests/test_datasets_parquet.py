"""Parquet files of images, as Hugging Face has them: the same data as files, read row by row."""

from __future__ import annotations

import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive_files import image_bytes
from conftest import fill
from parquet_files import IMAGE, features, write

from catclf.datasets import Listing, ReadOptions, open_source
from catclf.errors import DataError
from catclf.images.archive import Member
from catclf.images.preprocess import Limits

SIZE = 4
CONTENTS = [image_bytes(seed) for seed in range(8)]
LABELS = [0, 1, 1, 0, 1, 0, 0, 1]
NAMES = ("dog", "cat")


opened = partial(conftest.opened, size=SIZE)


def source(path: Path, **reading: Any) -> Listing:
    return open_source(path, ReadOptions(size=SIZE, **reading)).split("train")


def content_of(listing: Listing, row: int) -> bytes:
    """The bytes of an image, read as it is decoded."""
    member = listing.path(row)
    assert isinstance(member, Member)
    with member.open(Limits()) as file:
        return file.read()


def refused(path: Path, why: str, **reading: Any) -> None:
    with pytest.raises(DataError, match=why):
        opened(path, **reading)


@pytest.mark.parametrize("group", [1, 3, 100])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_rows_have_the_pixels_of_files(tmp_path: Path, group: int, compression: str) -> None:
    path = tmp_path / "a.parquet"
    write(path, CONTENTS, LABELS, NAMES, group=group, compression=compression)
    data = opened(path)
    assert (data.classes, data.Y.tolist()) == (NAMES, [LABELS])
    assert data.names == tuple(f"{path}:{number}.png" for number in range(8))
    names = [f"{NAMES[label]}/{number}.png" for number, label in enumerate(LABELS)]
    files = opened(fill(tmp_path / "f", dict(zip(names, CONTENTS, strict=True))))
    rows = [int(Path(name).stem) for name in files.names or ()]
    np.testing.assert_array_equal(data.images[rows], files.images)


def test_files_of_a_pattern_are_one_source_with_parts(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "train", "validation", "test")):
        name = f"{part}-{number:05d}-of-00004.parquet"
        write(tmp_path / name, CONTENTS[number : number + 4], LABELS[:4], NAMES)
    pattern = tmp_path / "*.parquet"
    assert open_source(pattern).splits == {"train", "validation", "test"}
    data = opened(pattern)
    assert data.Y.tolist() == [LABELS[:4] * 2]
    assert data.names is not None
    assert data.names[4] == f"{tmp_path}/train-00001-of-00004.parquet:0.png"
    np.testing.assert_array_equal(data.images[4:], opened(tmp_path / "train-00001*").images)
    assert opened(pattern, "test").m == 4
    assert opened(tmp_path / "test-00003-of-00004.parquet", "train").m == 4


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        (["dog", "cat", "dog"], NAMES, [0, 1, 0]),
        (pa.array(["dog", "cat", "dog"]).dictionary_encode(), NAMES, [0, 1, 0]),
        ([0, 1, 0], ("non-cat", "cat"), [0, 1, 0]),
        ([False, True, False], ("non-cat", "cat"), [0, 1, 0]),
        ([0.0, 1.0, 0.0], ("non-cat", "cat"), [0, 1, 0]),
        ([7, 1234567, 7], ("1234567", "7"), [1, 0, 1]),
    ],
)
def test_labels_may_be_texts_or_numbers(
    tmp_path: Path, labels: Any, classes: tuple[str, str], y: list[int]
) -> None:
    data = opened(write(tmp_path / "a.parquet", CONTENTS[:3], labels))
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


def test_missing_labels_are_named_or_left_out(tmp_path: Path) -> None:
    for labels, names in (
        ([0, None, 1], NAMES),
        ([0, -1, 1], NAMES),
        (["a", None, "b"], ()),
        ([0, math.nan, 1], ()),
    ):
        path = write(tmp_path / "a.parquet", CONTENTS[:3], labels, names)
        refused(path, r"a\.parquet:1\.png has no label.*, as 1 of 3 images")
        data = opened(path, skip_bad=True)
        assert data.names == tuple(f"{path}:{row}.png" for row in (0, 2))
        np.testing.assert_array_equal(
            data.images, opened(write(tmp_path / "b.parquet", CONTENTS[0:3:2], [0, 1])).images
        )
    refused(write(tmp_path / "a.parquet", CONTENTS[:2], [-1, -1], NAMES), "no label")
    refused(write(tmp_path / "a.parquet", CONTENTS[:2], [0, 5], NAMES), "has label 5")
    refused(write(tmp_path / "a.parquet", CONTENTS[:2], None), "has no labels in a column label")


@pytest.mark.parametrize(
    "facts", ["", "{", "[]", '{"info": 1}', json.dumps({"info": {"features": {"label": []}}})]
)
def test_facts_that_are_none_name_no_classes(tmp_path: Path, facts: str) -> None:
    table = pq.read_table(write(tmp_path / "a.parquet", CONTENTS[:2], [0, 1]))
    pq.write_table(table.replace_schema_metadata({"huggingface": facts}), tmp_path / "a.parquet")
    assert opened(tmp_path / "a.parquet").classes == ("non-cat", "cat")


def test_files_must_name_the_same_classes(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", CONTENTS[:2], [0, 1], NAMES)
    write(tmp_path / "1.parquet", CONTENTS[:2], [0, 1], NAMES[::-1])
    refused(tmp_path / "*.parquet", r"1\.parquet: has other class names")
    assert features(NAMES) != features(NAMES[::-1])


def test_rows_may_be_taken_in_any_grouping(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.parquet", CONTENTS[4 * number :][:4], [0, 1, 0, 1], NAMES)
    whole = source(tmp_path / "*.parquet")
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
    assert any("a.parquet: is damaged" in note for note in data.notes)


def test_a_damaged_row_group_costs_its_own_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", CONTENTS, LABELS, NAMES, compression="zstd", group=2)
    facts = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = facts.dictionary_page_offset or facts.data_page_offset
    content[start : start + facts.total_compressed_size] = bytes(facts.total_compressed_size)
    path.write_bytes(content)
    refused(path, r"a\.parquet:2\.png, .* \(is damaged, or not a Parquet file")
    data = opened(path, skip_bad=True)
    assert data.names == tuple(f"{path}:{row}.png" for row in (0, 1, 4, 5, 6, 7))


def test_any_changed_byte_gives_data_or_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", CONTENTS[:2], [0, 1], NAMES)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 40).tolist():
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            found = source(path, skip_bad=True)
            assert all(isinstance(found.path(row), Member) for row in range(len(found.labels)))
        except DataError as error:
            assert str(error).isprintable()  # noqa: PT017


def test_only_a_few_images_are_held_at_a_time(tmp_path: Path) -> None:
    images = [bytes(200_000) + bytes([number]) for number in range(100)]
    pages = {"use_dictionary": False, "write_batch_size": 4, "group": 100}
    path = write(tmp_path / "a.parquet", images, [0, 1] * 50, **pages)  # type: ignore[arg-type]
    before = pa.total_allocated_bytes()
    whole, most = source(path), 0
    for row in range(100):
        assert content_of(whole, row) == images[row]
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 5_000_000  # of 20 MB in one row group


def test_without_the_extra_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", CONTENTS[:2], [0, 1], NAMES)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(path, r"Parquet needs pyarrow: .* -m pip install 'pyarrow>")


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    images = [image_bytes(1), *[bytes(500_000)] * 3]
    path = write(tmp_path / "a.parquet", images, [0, 1, 0, 1], NAMES, compression="zstd", group=4)
    why = r"4 images cannot be read: .* \(is in a row group of \d+ bytes that would"
    refused(path, why, limits=Limits(file_bytes=10_000))
    table = pa.table({"image": pa.nulls(100_000, IMAGE), "label": [0] * 100_000})
    pq.write_table(table, tmp_path / "b.parquet")
    refused(tmp_path / "b.parquet", r"is damaged: it has 100000 rows in \d+ bytes")
