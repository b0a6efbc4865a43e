"""SIGKILL while a model is saved: the old or the new one is there, never neither, never a mix."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import Tell

RANDOM_KILLS = 120

# A child saves two models in turn; whatever kills it, one of the two must be found whole.
COMMON = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from catclf.model import Model
from catclf.model.file import load, save

path = Path(sys.argv[1])
size = 64 * 64 * 3
models = [Model(np.full((size, 1), value), value) for value in (1.0, 2.0)]

whole = {}  # by the bytes of a file

def check(kill):
    content = path.read_bytes()
    if content not in whole:
        found = load(path)
        if found.b not in (1.0, 2.0) or not (found.w == found.b).all():
            sys.exit(f"after kill {kill} the model is neither the old nor the new one")
        whole[content] = found.b
    odd = [name for name in os.listdir(path.parent) if not name.startswith(".catclf-")]
    if odd != [path.name]:
        sys.exit(f"after kill {kill} the folder holds {odd}")
    return whole[content]

def reap(child):
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)
"""

RANDOM = """
rng, seen = random.Random(0), []
save(models[0], path)
for kill in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        while True:
            for model in models:
                save(model, path)
    time.sleep(rng.uniform(0, 0.012))
    os.kill(child, signal.SIGKILL)
    reap(child)
    seen.append(check(kill))
    for rest in path.parent.glob(".catclf-*"):
        rest.unlink()
print(len(seen), len(set(seen)))
"""

# A save goes on line by line, in our code and in the library's; before every third line a child
# that stands at the same line is killed, and what the folder holds then is checked.
LINES = """
passed, found = 0, []

def line(frame, event, arg):
    global passed
    if event == "line":
        passed += 1
        if passed % 3 == 1:
            child = os.fork()
            if child == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if not reap(child):
                sys.exit(f"the child at line {passed} was not killed")
            found.append(check(passed))
    return line

save(models[0], path)
sys.settrace(line)
save(models[1], path)
sys.settrace(None)
print(found.count(1.0), found.count(2.0))
"""


def run_script(script: str, *args: str | Path) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", COMMON + script, *args],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [int(number) for number in done.stdout.split()]


def test_kills_at_random_times_leave_the_old_or_the_new_model(tmp_path: Path, tell: Tell) -> None:
    kills, _ = run_script(RANDOM, tmp_path / "model.npz", str(RANDOM_KILLS))
    assert kills == RANDOM_KILLS
    tell(f"crash: {kills} kills at random times while saving, always a whole model")


def test_a_kill_at_any_line_leaves_the_old_or_the_new_model(tmp_path: Path, tell: Tell) -> None:
    old, new = run_script(LINES, tmp_path / "model.npz")
    assert old > 100
    assert new > 0
    tell(f"crash: killed at {old + new} lines of a save: {old} old, {new} new")
