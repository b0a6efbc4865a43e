"""Progress on stderr: where it is shown, and that it never stands in the way of the work."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import GREEN, bash, paint, read_terminal, shell, wait_until

import catclf

LONG = "none" + 60 * "-" + ".png"  # wider than the terminal, with the words around it


def scoring_slowly(
    script: str, folder: Path, term: str, awaited: bytes = b""
) -> Callable[[], tuple[int, str]]:
    """Start a shell script that scores a list which takes more than a second to arrive.

    Its exit code, and all that a terminal of 60 columns as stderr (and $TERMINAL) was sent, are
    the result of what is returned. Names are sent until ``awaited`` is shown.
    """
    controller, terminal = pty.openpty()
    env = {**os.environ, "TERM": term, "COLUMNS": "60", "LINES": "24"}
    process = subprocess.Popen(
        bash(f"set -o pipefail; {script}"),
        cwd=folder,
        env={**env, "TERMINAL": os.ttyname(terminal)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )

    def result() -> tuple[int, str]:
        assert process.stdin is not None
        shown = bytearray()

        def is_shown() -> bool:
            if select.select([controller], [], [], 0)[0]:
                shown.extend(os.read(controller, 65536))
            return awaited in shown or process.poll() is not None

        def send(name: str) -> bool:
            assert process.stdin is not None
            time.sleep(0.4)
            process.stdin.write(name.encode() + b"\n")
            process.stdin.flush()
            return True

        for name in ("g.png", "g.png", LONG):
            send(name)
        wait_until(lambda: send("g.png") and is_shown())
        process.stdin.close()
        os.close(terminal)
        shown += read_terminal(controller)
        os.close(controller)
        return process.wait(timeout=180), shown.decode()

    return result


@pytest.fixture
def work(model: Path, tmp_path: Path) -> Path:
    paint(tmp_path / "g.png", GREEN, (8, 8))
    return tmp_path


def test_results_are_counted_on_the_terminal_where_they_go_to_a_file(work: Path) -> None:
    scripts = {
        "catclf predict -o filed -": ("xterm-256color", b"scoring images"),
        "catclf predict - > piped": ("xterm-256color", b"scoring images"),
        "catclf predict - > $TERMINAL": ("xterm", b""),
        "catclf predict - | cat": ("xterm", b""),  # to what is no file
        "catclf predict -q -o quiet -": ("xterm", b""),
        "catclf predict -o dumb -": ("dumb", b""),
        "catclf predict -o merged - 2>&1 | cat > $TERMINAL": ("xterm", b""),
    }
    running = [scoring_slowly(script, work, *how) for script, how in scripts.items()]
    with ThreadPoolExecutor(len(running)) as pool:  # each waits for two seconds
        ends = list(pool.map(lambda result: result(), running))
    for (code, shown), (_, awaited) in zip(ends, scripts.values(), strict=True):
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        assert code == 3
        assert f"catclf: {LONG}: there is no such file\r\n" in plain
        assert ("scoring" in plain) == bool(awaited)
        assert not awaited or shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    for (_, shown), name in zip(ends, ("filed", "piped"), strict=False):
        count = len((work / name).read_text().splitlines())
        assert count >= 4
        assert f"{count}/?" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


@pytest.mark.parametrize("stream", ["/dev/full", "&-"])
def test_progress_that_cannot_be_written_does_not_end_training(tmp_path: Path, stream: str) -> None:
    result = shell(f"catclf train --iterations 300 2>{stream}", tmp_path)
    assert (result.code, "train accuracy" in result.stdout) == (0, True)
    assert catclf.load(tmp_path / "model.npz").training.steps == 300


@pytest.mark.parametrize(
    ("args", "code"),
    [("train --data none.h5", 2), ("predict none.png", 3), ("compare small.h5 --iterations 20", 0)],
)
def test_a_message_that_cannot_be_written_changes_no_exit_code(
    model: Path, small_hdf5: Path, tmp_path: Path, args: str, code: int
) -> None:
    assert shell(f"catclf {args} 2>/dev/full", tmp_path).code == code
