"""``catclf predict`` when the world around it fails: it says so in a line, or ends quietly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wording
from conftest import GREEN, Result, Run, command, contents, fill, has_open, paint, shell, wait_until
from PIL import Image

import catclf


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that takes long and much memory to decode."""
    path = tmp_path_factory.mktemp("big") / "big.png"
    Image.new("RGBA", (9000, 9000)).save(path, compress_level=1)
    return path


@pytest.fixture
def work(model: Path, tmp_path: Path) -> Path:
    """A model, a good image, and a list that names it 2000 times."""
    paint(tmp_path / "g.png", GREEN, (8, 8))
    (tmp_path / "list").write_text("g.png\n" * 2000)
    return tmp_path


def begin(folder: Path, *args: str, **options: Any) -> Any:
    """A run whose streams are pipes."""
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    words = [command(), "predict", *args]
    return subprocess.Popen(words, cwd=folder, bufsize=0, **pipes, **options)


@pytest.mark.parametrize(
    ("inputs", "reader", "codes"),
    [("@list", "head -1", ["141"]), ("g.png g.png", "true", ["141", "0"])],  # 0: the pipe held all
)
def test_a_reader_that_goes_ends_the_run_without_noise(
    work: Path, inputs: str, reader: str, codes: list[str]
) -> None:
    result = shell(f"catclf predict {inputs} | {reader}; echo ${{PIPESTATUS[0]}}", work)
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] in codes


def test_a_full_device_and_a_closed_stdout_are_not_success(work: Path) -> None:
    for inputs in ("@list", "g.png"):
        full = shell(f"catclf predict {inputs} > /dev/full", work)
        full.refused(f"{wording.UNWRITTEN}: No space left on device\n")
    assert shell("catclf predict g.png >&-", work).code == 2


def test_closed_stdin_and_stderr_matter_only_where_they_are_needed(work: Path) -> None:
    """Nor does a working folder matter that is gone."""
    script = "mkdir gone; cd gone; rmdir ../gone; catclf predict -m {0}/model.npz {0}/g.png <&-"
    assert shell(script.format(work), work).stdout.endswith("\tcat\t0.9820137900379085\n")
    result = shell("set -o pipefail; catclf predict @list none.png <&- 2>&- | wc -l", work)
    assert (result.code, result.stdout.strip()) == (3, "2001")
    closed = shell("catclf predict - <&-", work)
    closed.refused("standard input is closed: there is no list to read\n")


def test_a_disk_that_is_full_leaves_the_old_output(work: Path) -> None:
    for old in ({}, {"out.tsv": "yesterday's"}):
        fill(work, old)
        before = contents(work)
        result = shell("ulimit -f 8; catclf predict @list -o out.tsv", work)
        result.refused("out.tsv: cannot be written: file too large")
        assert contents(work) == before


PLAIN = {"PATH": os.environ["PATH"]}


@pytest.mark.parametrize(
    "env",
    [
        {"LANG": "C", "LC_ALL": "C", "TERM": "dumb", "COLUMNS": "20"},
        {"LC_ALL": "bogus", "TERM": "bogus", "COLUMNS": "-3", "HOME": "/nonexistent"},
        {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "COLUMNS": "abc"},
        {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "TMPDIR": "/nonexistent", "TZ": "x"},
    ],
    ids=["C", "bogus", "ascii", "python"],
)
def test_the_environment_changes_nothing(run: Run, work: Path, env: dict[str, str]) -> None:
    (work / "short").write_text("g.png\n" * 20 + "none.png\n")
    usual = run("predict", "@short")
    assert usual.code == 3
    words = [command(), "predict", "@short"]
    done = subprocess.run(words, cwd=work, env=PLAIN | env, capture_output=True, text=True)
    assert Result(done.returncode, done.stdout, done.stderr) == usual


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_what_was_scored(work: Path, sent: signal.Signals) -> None:
    with begin(work, "-") as process:
        process.stdin.write(b"g.png\n" * 20)
        first = process.stdout.readline()
        process.send_signal(sent)
        rest, errors = process.communicate(timeout=180)  # also closes stdin, which must not matter
    assert (process.returncode, errors) == (128 + sent, b"")
    printed = first + rest
    assert printed.endswith(b"\n")
    assert all(line.count(b"\t") == 2 for line in printed.splitlines())


def runs(number: int, of_group: bool = False) -> bool:
    """Whether a process runs, or one of a group; a dead one not yet waited for does not."""
    for status in Path("/proc").glob("[0-9]*/stat" if of_group else f"{number}/stat"):
        with suppress(OSError):
            state, _, group = status.read_text().rpartition(")")[2].split()[:3]
            if state != "Z" and (int(group) == number or not of_group):
                return True
    return False


def test_interrupts_at_any_moment_leave_whole_lines_and_no_process(work: Path) -> None:
    for tenths in (0, 1, 2, 3, 5, 8):
        process = begin(work, "@list", "-o", "out.tsv", start_new_session=True)
        libraries = Path(f"/proc/{process.pid}/maps")
        # Before Python itself has started an interrupt ends it with a traceback.
        wait_until(lambda: process.poll() is not None or "numpy" in libraries.read_text())  # noqa: B023
        time.sleep(tenths / 10)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        printed, errors = process.communicate(timeout=180)
        assert process.returncode in (130, 0, -signal.SIGINT)  # the last while it is being loaded
        assert (printed, errors) == (b"", b"")
        if process.returncode == 0 or (work / "out.tsv").exists():
            assert (work / "out.tsv").read_text().count("\n") == 2000
        assert not list(work.glob(".catclf-*"))
        # Nor does a worker run that was just being started.
        wait_until(lambda: not runs(process.pid, of_group=True))  # noqa: B023
        (work / "out.tsv").unlink(missing_ok=True)


def test_a_signal_that_is_ignored_stays_ignored(work: Path) -> None:
    script = "trap '' HUP; catclf predict - < <(echo g.png; sleep 1; echo g.png) & sleep 0.7; "
    result = shell(script + "kill -HUP $!; wait $!", work)
    assert (result.code, result.stdout.count("\n")) == (0, 2)


def test_a_worker_that_is_killed_costs_one_image(work: Path, big: Path) -> None:
    (work / "big.png").symlink_to(big)
    with begin(work, "-") as process:
        process.stdin.write(b"g.png\n")
        process.stdout.readline()
        process.stdin.write(b"big.png\n")
        tasks = Path(f"/proc/{process.pid}/task").iterdir()
        workers = " ".join((task / "children").read_text() for task in tasks).split()
        wait_until(lambda: any(has_open(worker, work / "big.png") for worker in workers))
        for worker in workers:
            os.kill(int(worker), signal.SIGKILL)
        assert process.stdout.readline() == b"big.png\t\t\n"
        wait_until(lambda: not any(runs(int(worker)) for worker in workers))
        printed, errors = process.communicate(b"g.png\n" * 20, timeout=180)
    assert process.returncode == 3
    assert [line.split(b"\t")[:2] for line in printed.splitlines()] == [[b"g.png", b"cat"]] * 20
    assert errors.startswith(b"catclf: big.png: ended its decoder by signal 9")
    assert errors.count(b"\n") == 1


def test_memory_that_runs_out_costs_one_image(work: Path, big: Path) -> None:
    (work / "big.png").symlink_to(big)
    (work / "names").write_text("g.png\n" * 10 + "big.png\n" + "g.png\n" * 10)
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread reserves memory
    for inputs, count in (("g.png big.png g.png", 2), ("@names", 20)):
        result = shell(f"ulimit -v 450000; catclf predict {inputs}", work, env)
        said = "catclf: big.png: not enough memory to decode this image\n"
        assert (result.code, result.stderr) == (3, said)
        assert sum("cat" in line for line in result.stdout.splitlines()) == count


def test_few_descriptors_are_enough(work: Path) -> None:
    for count in (64, 16):
        result = shell(f"ulimit -n {count}; catclf predict @list | sort | uniq -c", work)
        assert result.done().split() == ["2000", "g.png", "cat", "0.9820137900379085"]


def test_what_is_no_regular_file_is_never_waited_for(work: Path) -> None:
    os.mkfifo(work / "pipe.png")
    result = shell(f"timeout 20 '{command()}' predict pipe.png /dev/zero . g.png", work)
    assert result.code == 3  # and not 124, of timeout
    for name in ("pipe.png", "/dev/zero"):
        assert f"{name}: is not a regular file" in result.stderr


def test_what_a_c_library_writes_about_an_image_is_not_shown(work: Path) -> None:
    """libtiff writes to descriptor 2, past all of Python."""
    noise = np.random.default_rng(0).integers(0, 2, (40, 52), dtype=np.uint8) * 255
    Image.fromarray(noise).convert("1").save(work / "x.tif", compression="group4")
    content = bytearray((work / "x.tif").read_bytes())
    content[48:68] = bytes(20)
    (work / "x.tif").write_bytes(content)
    reader = "from PIL import Image; Image.open('x.tif').load()"
    loud = subprocess.run([sys.executable, "-c", reader], cwd=work, capture_output=True)
    assert b"Fax4" in loud.stderr
    (work / "list").write_text("x.tif\n" * 20)
    for inputs in ("x.tif", "@list"):
        result = shell(f"catclf predict {inputs}", work)
        assert all(line.startswith("catclf: x.tif: ") for line in result.stderr.splitlines())
    assert shell("catclf predict x.tif 2>&-", work).code in (0, 3)


def test_weights_beyond_all_sense_are_one_line_with_the_models_name(
    run: Run, tmp_path: Path
) -> None:
    paint(tmp_path / "a.png", GREEN)
    w = np.full((64 * 64 * 3, 1), -1.7e308)
    catclf.save(catclf.Model(w, 0.0), tmp_path / "huge.npz")
    why = "huge.npz: the model's weights are so large "
    for args in ("predict a.png", "explain a.png", "evaluate"):
        run(*args.split(), "-m", "huge.npz").refused(why)
