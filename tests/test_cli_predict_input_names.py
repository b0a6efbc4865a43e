"""What is asked for becomes a list of images: any names, any order of arrival, no loops."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclf.images.inputs import NAME_LIMIT, Input, read_inputs, split_names


def names_of(inputs: Iterable[Input]) -> list[str]:
    return [item if isinstance(item, str) else f"{item[0]}: {item[1].kind}" for item in inputs]


def listing(names: list[bytes], separator: bytes, ended: bool) -> bytes:
    return separator.join(names) + (separator if ended and names else b"")


raw = st.binary(max_size=12)


@given(names=st.lists(raw.filter(lambda name: b"\n" not in name)), data=st.data())
def test_lines_come_back_whatever_their_bytes_and_however_they_arrive(
    names: list[bytes], data: st.DataObject
) -> None:
    content = listing(names, b"\n", data.draw(st.booleans()))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)))))
    blocks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    found = [os.fsencode(str(name)) for name in split_names(blocks, b"\n")]
    assert found == [name for name in names if name]


@given(st.lists(raw.filter(lambda name: b"\0" not in name)), st.booleans())
def test_names_that_end_with_nul_may_hold_anything_else(names: list[bytes], ended: bool) -> None:
    found = split_names([listing(names, b"\0", ended)], b"\0")
    assert [os.fsencode(str(name)) for name in found] == [name for name in names if name]


@pytest.mark.parametrize("block", [1000, 65536, 10**6])
def test_a_name_without_end_is_one_failure_and_is_not_held(block: int) -> None:
    endless = b"x" * (3 * NAME_LIMIT)
    content = b"a\n" + endless + b"\nb\n" + endless
    blocks = (content[i : i + block] for i in range(0, len(content), block))
    found = list(split_names(blocks, b"\n"))
    assert [name[:3] if isinstance(name, str) else name[0][:3] for name in found] == [
        "a",
        "xxx",
        "b",
        "xxx",
    ]
    assert all(len(name[0]) < 200 for name in found if not isinstance(name, str))


def test_a_list_of_millions_is_not_held() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    block = b"some/longer/name/of/a/image.jpg\n" * 2000
    count = sum(1 for _ in split_names((block for _ in range(1000)), b"\n"))
    assert count == 2_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # kB


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.png",
        "photo.heic",
        "sub/c.webp",
        "sub/.git/x.png",
        "sub/deep/d.gif",
        ".cache/y.png",
        "folder.png/e.bmp",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("loop").symlink_to(".")
    Path("sub/up.png").symlink_to("..")
    Path("link.png").symlink_to("a.PNG")
    Path("empty").mkdir()
    return tmp_path


def test_a_folder_is_its_images_by_name(tree: Path) -> None:
    assert names_of(read_inputs(["."])) == ["./a.PNG", "./b.jpg", "./link.png", "./photo.heic"]
    assert names_of(read_inputs(["sub/"])) == ["sub/c.webp"]
    assert names_of(read_inputs(["loop"]))[0] == "loop/a.PNG"
    assert names_of(read_inputs(["empty"])) == ["empty: no-images"]


def test_folders_in_folders_are_walked_without_loops_and_hidden_ones(tree: Path) -> None:
    assert names_of(read_inputs([str(tree)], recursive=True)) == [
        str(tree / name)
        for name in (
            "a.PNG",
            "b.jpg",
            "link.png",
            "photo.heic",
            "folder.png/e.bmp",
            "sub/c.webp",
            "sub/deep/d.gif",
        )
    ]


def test_lists_in_files_hold_names_of_files_and_folders_and_nothing_special(tree: Path) -> None:
    (tree / "names").write_bytes(b"b.jpg\n\n@names\nsub\n-\ncaf\xe9.png")
    assert names_of(read_inputs(["@names", "x"])) == [
        "b.jpg",
        "@names",
        "sub/c.webp",
        "-",
        os.fsdecode(b"caf\xe9.png"),
        "x",
    ]
    (tree / "names0").write_bytes(b"b.jpg\0two\nlines.png\0")
    assert names_of(read_inputs(["@names0"], null=True)) == ["b.jpg", "two\nlines.png"]


def test_a_list_made_on_windows_names_the_same_files(tree: Path) -> None:
    (tree / "names").write_bytes(b"b.jpg\r\nsub\r\n\r\nnone.png\r\n")
    assert names_of(read_inputs(["@names"])) == ["b.jpg", "sub/c.webp", "none.png"]
    (tree / "odd.png\r").touch()
    (tree / "odd.png").touch()
    (tree / "names").write_bytes(b"odd.png\r\n")
    assert names_of(read_inputs(["@names"])) == ["odd.png\r"]
    (tree / "names0").write_bytes(b"b.jpg\r\0")
    assert names_of(read_inputs(["@names0"], null=True)) == ["b.jpg\r"]


def test_a_list_that_cannot_be_read_fails_in_its_place(tree: Path) -> None:
    found = names_of(read_inputs(["a.PNG", "@none", "@sub", "b.jpg"]))
    assert found == ["a.PNG", "@none: unreadable", "@sub: unreadable", "b.jpg"]


def test_a_list_may_come_from_a_pipe_that_opens_late(tree: Path) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text("b.jpg\n"))
    writer.start()
    assert names_of(read_inputs(["@pipe"])) == ["b.jpg"]
    writer.join()
