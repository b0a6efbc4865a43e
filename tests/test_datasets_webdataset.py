"""Labelled samples in tar archives, as WebDataset and img2dataset write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import pytest
from archive_files import image_bytes, stored, tar

import catclf
from catclf.errors import DataError
from catclf.images.preprocess import Preprocess

SIZE = 4
PREPROCESS = Preprocess(SIZE)
LABELS = [1, 0, 0, 1, 1]


opened = partial(conftest.opened, size=SIZE)


def samples(labels: Mapping[str, bytes], ending: str, first: int = 0) -> dict[str, bytes]:
    """The files of samples, each with an image and a file with its label."""
    files = {}
    for number, (key, label) in enumerate(labels.items()):
        files[f"{key}.png"] = image_bytes(first + number)
        files[f"{key}.{ending}"] = label
    return files


def numbered(labels: list[int], first: int = 0) -> dict[str, bytes]:
    return {f"{first + i:06d}": str(label).encode() for i, label in enumerate(labels)}


def refused(path: Path, why: str, **reading: Any) -> None:
    with pytest.raises(DataError, match=why):
        opened(path, **reading)


@pytest.mark.parametrize(
    ("ending", "contents", "classes"),
    [
        ("cls", [b"1", b"0", b"0\n", b"1", b" 1 "], ("non-cat", "cat")),
        ("cls", [b"cat", b"dog", b"dog", b"cat", b"cat"], ("dog", "cat")),
        ("txt", [b"cat", b"dog\n", b"dog", b"cat", b"\xef\xbb\xbfcat"], ("dog", "cat")),
        ("json", [json.dumps({"url": "x", "label": label}).encode() for label in LABELS], None),
        ("json", [json.dumps({"Class": f"c{label}"}).encode() for label in LABELS], ("c0", "c1")),
    ],
)
def test_labels_are_files_beside_images(
    tmp_path: Path, ending: str, contents: list[bytes], classes: tuple[str, str] | None
) -> None:
    keys = (f"{number:06d}" for number in range(5))
    path = tar(tmp_path / "a.tar", samples(dict(zip(keys, contents, strict=True)), ending))
    data = opened(path)
    assert data.Y.tolist() == [LABELS]
    assert data.classes == (classes or ("non-cat", "cat"))
    assert data.names == tuple(f"{path}:{number:06d}.png" for number in range(5))
    for number, image in enumerate(data.images):
        (tmp_path / "0.png").write_bytes(image_bytes(number))
        np.testing.assert_array_equal(image, catclf.read_image(tmp_path / "0.png", PREPROCESS))


def test_shards_are_one_source_in_order(tmp_path: Path) -> None:
    for shard in range(3):
        files = samples(numbered([0, 1], 2 * shard), "cls", 2 * shard)
        tar(tmp_path / f"s-{shard:05d}.tar", files)
    data = opened(tmp_path / "s-{00000..00002}.tar")
    assert data.Y.tolist() == [[0, 1] * 3]
    assert data.names is not None
    assert data.names[4] == f"{tmp_path}/s-00002.tar:000004.png"
    np.testing.assert_array_equal(data.images, opened(tmp_path / "s-*.tar").images)
    np.testing.assert_array_equal(data.images[2:4], opened(tmp_path / "s-00001.tar").images)


def test_the_order_of_files_in_an_archive_does_not_matter(tmp_path: Path) -> None:
    files = samples(numbered(LABELS), "cls")
    apart = dict(sorted(files.items(), key=lambda item: item[0][::-1]))
    assert list(apart) != list(files)
    one, other = tar(tmp_path / "a.tar", files), tar(tmp_path / "b.tar", apart)
    assert opened(one).fingerprint == opened(other).fingerprint


@pytest.mark.parametrize(
    ("keys", "label"),
    [(("png", "cls"), 1), (("seg.png", ".CLS"), 1), (("png", "age"), 0), (("png", "json"), 1)],
)
def test_keys_say_which_files_are_taken(
    tmp_path: Path, keys: tuple[str, str], label: float
) -> None:
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


def test_several_images_of_a_sample_must_be_told_apart(tmp_path: Path) -> None:
    files = samples(numbered([0, 1]), "cls") | {"000001.jpg": image_bytes(5, "JPEG")}
    refused(
        tar(tmp_path / "a.tar", files), r"000001\.png: has several images, png and jpg: `keys=png"
    )


def test_what_is_not_used_is_counted(tmp_path: Path) -> None:
    files = samples(numbered(LABELS), "cls") | {"000000.txt": b"a caption", "x.json": b"{}"}
    files |= {".hidden.cls": b"1", "__MACOSX/000000.png": b"x"}
    notes = opened(tar(tmp_path / "a.tar", files)).notes
    for text in (
        "the label is .cls",
        "left out 1 sample without an image",
        "left out 2 files: 1 .txt, 1 .json",
    ):
        assert any(text in note for note in notes)


@pytest.mark.parametrize(
    ("ending", "content", "why"),
    [
        ("cls", b"", r"000001\.cls: is empty: mend it"),
        ("cls", b" ", "holds no label, which is a name or an integer"),
        ("cls", b"1\n2\n", "holds no label"),
        ("json", b"{", r"000001\.json: is no JSON"),
        ("json", b"[" * 100_000, r"000001\.json: is no JSON"),
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
    labels = dict(zip(("000000", "000001", "000002"), (good[0], content, good[1]), strict=True))
    path = tar(tmp_path / "a.tar", samples(labels, ending))
    refused(path, why)
    data = opened(path, skip_bad=True)
    assert data.m == 2
    assert any("left out 1 sample without a label: " in note for note in data.notes)


def test_captions_are_no_classes(tmp_path: Path) -> None:
    labels = {f"{i:06d}": f"caption {i}".encode() for i in range(1100)}
    files = {f"{key}.{end}": text for key, text in labels.items() for end in ("png", "txt")}
    refused(tar(tmp_path / "a.tar", files), "1100 different texts, no classes: `keys=jpg,label`")


def test_json_without_a_label_says_what_it_has(tmp_path: Path) -> None:
    labels = {f"{i}": b'{"caption": "x", "sha256": "y"}' for i in range(2)}
    refused(
        tar(tmp_path / "a.tar", samples(labels, "json")),
        r"a\.tar:0\.json: has no label; it has caption, sha256: `keys=jpg,label` says",
    )


def test_class_folders_with_captions_are_class_folders(tmp_path: Path) -> None:
    files = {}
    for number, name in enumerate(("cat", "dog")):
        files[f"{name}/0.png"] = image_bytes(number)
        files[f"{name}/0.txt"] = f"caption {number}".encode()
    assert opened(tar(tmp_path / "a.tar", files)).classes == ("dog", "cat")
    assert opened(tar(tmp_path / "a.tar", files), keys=("png", "txt")).m == 2
    only_zip = stored(tmp_path / "a.zip", samples(numbered([0, 1]), "cls"))
    refused(only_zip, "holds no class folders")


def test_a_link_is_no_image_and_no_label(tmp_path: Path) -> None:
    import tarfile

    from archive_files import add

    (tmp_path / "secret").write_text("1")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in samples(numbered([0, 1]), "cls").items():
            add(archive, name, content)
        add(archive, "000002.png", image_bytes(7))
        add(archive, "000002.cls", type=tarfile.SYMTYPE, linkname=str(tmp_path / "secret"))
    refused(tmp_path / "a.tar", r"000002\.png: has no \.cls")


def test_a_damaged_shard_is_left_out_from_there_on(tmp_path: Path) -> None:
    for shard in range(2):
        tar(tmp_path / f"s-{shard}.tar", samples(numbered([0, 1, 0]), "cls"))
    path = tmp_path / "s-1.tar"
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"000002.cls") + 300])
    refused(tmp_path / "s-*.tar", r"s-1\.tar: is damaged, or not a tar archive")
    data = opened(tmp_path / "s-*.tar", skip_bad=True)
    assert data.m == 5
    assert any("s-1.tar: is damaged" in note for note in data.notes)
    (tmp_path / "s-0.tar").write_bytes(b"no tar at all")
    assert opened(tmp_path / "s-*.tar", keys=("png", "cls"), skip_bad=True).m == 2
    path.write_bytes(b"")
    refused(tmp_path / "s-*.tar", "s-0.tar: is damaged", keys=("png", "cls"), skip_bad=True)
