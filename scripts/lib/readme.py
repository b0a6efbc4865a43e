"""The commands in README.md and their output: run again, to compare or to renew them.

A ```console block holds lines of ``$ command``, each followed by what it prints on a pipe, stderr
included. They run in a folder that holds the course's two files and ``photos/``, a folder for each
class.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
# What no two runs share: durations and speeds.
VARYING = re.compile(r"\d+[.,:\d]*(?= (?:m?s|a second|steps/s)\b)|(?<=times as fast: )[\d.]+")


# Processors round products differently: digits after the eighth, and hashes of what they made.
LAST_DIGITS = re.compile(r"(?<=\d\.\d{8})\d+|(?<=fingerprint     )[0-9a-f]{12}\b")


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a block with the output shown below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def output_of(command: str, folder: Path) -> str:
    """What a command prints, stdout and stderr as they come."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.stdout


def steady(output: str) -> str:
    """The output without what varies from run to run, or from one kind of processor to another."""
    return LAST_DIGITS.sub("", VARYING.sub("…", output))


def prepare(folder: Path, datasets: Path) -> None:
    """Put the files that the examples name into a folder."""
    for part in ("train", "test"):
        name = f"{part}_catvnoncat.h5"
        (folder / name).symlink_to(datasets / "catvnoncat" / name)
    (folder / "photos").symlink_to(datasets / "pets-sample")


def renewed(text: str, folder: Path) -> str:
    """README.md with the output of each command as it is now; kept where only times differ."""

    def again(block: re.Match[str]) -> str:
        lines = []
        for command, shown in commands(block[1]):
            now = output_of(command, folder)
            lines.append(f"$ {command}\n{shown if steady(now) == steady(shown) else now}")
        return f"```console\n{''.join(lines)}```"

    return BLOCK.sub(again, text)


def main() -> None:
    datasets = os.environ.get("CATCLF_DATASETS")
    if not datasets:
        raise SystemExit("readme: set CATCLF_DATASETS to the folder that holds the data")
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), Path(datasets).resolve())
        README.write_text(renewed(README.read_text(), Path(name)))


if __name__ == "__main__":
    main()
