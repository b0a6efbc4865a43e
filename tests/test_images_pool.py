"""Many images at once: in order, as soon as they are there, whatever happens to a worker."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_files import image_bytes
from conftest import fails, fill, has_open, wait_until
from PIL import Image

from catclf.errors import ImageError
from catclf.images import pool
from catclf.images.archive import Content, Failed
from catclf.images.decode import read
from catclf.images.pool import FEW, Outcome, decode_all, decode_batches
from catclf.images.preprocess import Limits, Preprocess
from catclf.maths import Pixels

SMALL = Preprocess(8)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Forty small images of many sizes; every seventh is none."""
    rng, files = np.random.default_rng(0), dict[str, Any]()
    for i in range(40):
        size = (10 + 7 * (i % 5) ** 3, 12, 3)
        files[f"{i}.png"] = "no image" if i % 7 == 3 else rng.integers(0, 256, size, np.uint8)
    fill(tmp_path, files)
    return [str(tmp_path / name) for name in files]


_EARLIER: set[int] = set()


@pytest.fixture(autouse=True)
def earlier_children() -> None:
    """Those of other tests, such as the server that forks commands, are not looked at."""
    _EARLIER.clear()
    _EARLIER.update(children())


def children() -> list[int]:
    """The processes that this one has started in this test and that still run."""
    task = Path(f"/proc/{os.getpid()}/task")
    found = " ".join((thread / "children").read_text() for thread in task.iterdir())
    return [pid for pid in map(int, found.split()) if pid not in _EARLIER]


def same(found: Pixels | ImageError, path: str) -> bool:
    """Whether it is what reading that one image gives."""
    try:
        expected = read(path, SMALL)
    except ImageError as error:
        return isinstance(found, ImageError) and found.kind == error.kind
    return not isinstance(found, ImageError) and np.array_equal(found, expected)


@pytest.mark.parametrize("workers", [None, 1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, FEW, FEW + 1, 40])
def test_images_come_in_order(images: list[str], workers: int | None, count: int) -> None:
    paths = images[:count]
    found = list(decode_all(paths, SMALL, workers=workers))
    assert [path for path, _ in found] == paths
    assert all(same(result, path) for path, result in found)
    assert not children()


def test_few_images_start_no_process(images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process"))
    assert len(list(decode_all(images[:FEW], SMALL))) == FEW


def test_limits_and_earlier_failures_go_along(images: list[str]) -> None:
    failure: Failed = ("folder", ImageError("no-images", "is empty"))
    long_name = "n" * 5000
    paths: list[str | Failed] = [images[0], failure, *images[1:20], long_name, "a\0b"]
    found = dict(decode_all(paths, SMALL, Limits(pixels=130)))
    assert list(found) == [path if isinstance(path, str) else "folder" for path in paths]
    kinds = {p: r.kind if isinstance(r, ImageError) else "" for p, r in found.items()}
    assert kinds["folder"] == "no-images"
    assert kinds[images[1]] == "too-large"
    assert kinds[images[5]] == ""
    assert kinds[long_name] == "unreadable"
    assert kinds["a\0b"] == "missing"


def test_results_come_while_the_input_is_silent(images: list[str]) -> None:
    given: queue.Queue[str | None] = queue.Queue()
    batches = decode_batches(iter(given.get, None), SMALL)
    for path in images[:5]:
        given.put(path)  # nothing follows until this one has come out
        assert [name for name, _ in next(batches)] == [path]
    given.put(None)
    assert list(batches) == []


def test_input_is_read_no_further_than_the_window(images: list[str]) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield images[taken % 40]

    batches = decode_batches(endless(), SMALL)
    given = 0
    while given < 2000:
        given += len(next(batches))
        assert taken - given <= pool._WINDOW + 1
    batches.close()
    assert not children()


def test_an_error_of_the_input_is_passed_on(images: list[str]) -> None:
    def failing() -> Iterator[str]:
        yield from images[:3]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(decode_all(failing(), SMALL))
    assert not children()


def test_closing_early_leaves_no_process_and_no_descriptor(images: list[str]) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(5):
        batches = decode_batches(iter(images), SMALL)
        next(batches)
        batches.close()
    assert not children()
    assert len(list(Path("/dev/fd").iterdir())) == before


def big(folder: Path) -> str:
    """An image that takes a good part of a second."""
    path = folder / "big.png"
    if not path.exists():
        Image.new("RGB", (7000, 7000)).save(path, compress_level=1)
    return str(path)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_an_image_whose_worker_dies_fails_alone(
    images: list[str], tmp_path: Path, sent: signal.Signals
) -> None:
    """Each death of a worker that is busy with the big image costs that image, no other."""
    given: queue.Queue[str | None] = queue.Queue()
    batches = decode_batches(iter(given.get, None), SMALL, workers=1)
    given.put(images[0])
    next(batches)  # the worker is ready
    (worker,) = children()
    order = [big(tmp_path), *images[1:10]]
    for path in order:
        given.put(path)
    given.put(None)
    found = []

    def kill() -> None:
        wait_until(lambda: has_open(worker, order[0]))
        os.kill(worker, sent)

    killer = threading.Thread(target=kill)
    killer.start()
    for batch in batches:
        found += batch
    killer.join()
    assert [path for path, _ in found] == order
    first = found[0][1]
    assert isinstance(first, ImageError)
    assert first.kind == "crashed"
    assert f"by signal {int(sent)}" in str(first)
    assert all(same(result, path) for path, result in found[1:])
    assert not children()


def test_an_idle_worker_that_dies_costs_nothing(images: list[str]) -> None:
    given: queue.Queue[str | None] = queue.Queue()
    batches = decode_batches(iter(given.get, None), SMALL, workers=1)
    for path in images[:4]:
        given.put(path)
        ((name, result),) = next(batches)
        assert name == path
        assert same(result, path)
        for pid in children():
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # until it is really dead
    given.put(None)
    assert list(batches) == []


@pytest.mark.parametrize("program", ["/nonexistent", "/bin/false", "/bin/true"])
def test_no_worker_is_needed(
    images: list[str], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr("sys.executable", program)
    found = list(decode_all(images, SMALL))
    assert [path for path, _ in found] == images
    assert all(same(result, path) for path, result in found)


def test_no_thread_is_needed(images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.Thread.start", fails(RuntimeError("can't start new thread")))
    assert [path for path, _ in decode_all(images, SMALL)] == images


def test_contents_are_decoded_as_files_in_bounded_room(tmp_path: Path) -> None:
    made, ahead = [0], [0]
    found: list[Outcome] = []

    def contents() -> Iterator[Content]:
        for number in range(60):
            padding = bytes(3_000_000)  # 60 of them are more than the window
            yield Content.holding("a.parquet", str(number), image_bytes(number % 5) + padding)
            made[0] += 1
            ahead[0] = max(ahead[0], made[0] - len(found))

    for outcome in decode_all(contents(), SMALL, workers=2):
        found.append(outcome)
        time.sleep(0.01)  # so that the inputs could run ahead
    assert [path for path, _ in found] == [f"a.parquet:{number}" for number in range(60)]
    assert 5 < ahead[0] < 45  # a window of 21, and as many that are given out
    for number in range(5):
        path = tmp_path / "0.png"
        path.write_bytes(image_bytes(number))
        for _, pixels in found[number::5]:
            assert not isinstance(pixels, ImageError)
            np.testing.assert_array_equal(pixels, read(path, SMALL))
