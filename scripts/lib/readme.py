"""README.md and the pages of catclf/docs: what they show is run again, to compare or to renew it.

A ```console block holds lines of ``$ command``, each followed by what it prints on a pipe, stderr
included. In a ```console varies block every number may differ from machine to machine. Each page
is run in a folder of its own, with the bundled ``data/``, the course's two files and ``photos/``, a
folder for each class. Between ``<!-- name -->`` and ``<!-- /name -->`` stands a table that is made
from the program or from another page.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "catclf" / "docs"
PAGES = (README, *sorted(DOCS.glob("*.md")))
BLOCK = re.compile(r"```console( varies)?\n(.*?)```", re.DOTALL)
MARKED = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", re.DOTALL)
# What no two runs share: durations and speeds.
VARYING = re.compile(r"\d+[.,:\d]*(?= (?:m?s|a second|steps/s)\b)")
# Processors round products differently: digits after the eighth, fingerprints of models, and the
# bytes of a file that is compressed or printed.
OF_A_PROCESSOR = re.compile(
    r"(?<=\d\.\d{8})\d+|(?<![\w-])[0-9a-f]{12}(?![\w-])|"
    r'\d[\d,]*(?= (?:bytes|kB)\b)|(?<="bytes": )\d+'
)
PROGRESS = re.compile(
    r"^(?:[a-z ]+:|step) [\d,]+ of [\d,]+\n", re.MULTILINE
)  # of work that takes seconds
NUMBER = re.compile(r" *\d[\d.,]*(?:e[+-]\d+)?")
REPEATED = re.compile(r"^(.*\n)\1+", re.MULTILINE)  # of steps, once their numbers are masked


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a block with the output shown below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def output_of(command: str, folder: Path) -> str:
    """What a command prints: stderr, and then stdout, for which arrives first is chance."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return PROGRESS.sub("", done.stderr) + done.stdout


def steady(output: str, varies: bool = False) -> str:
    """The output without what varies from run to run, or from one kind of processor to another."""
    output = OF_A_PROCESSOR.sub("", VARYING.sub("…", output))
    return REPEATED.sub(r"\1", NUMBER.sub(" …", output)) if varies else output


def needs_datasets(text: str) -> bool:
    """Whether commands of a page name images that do not come with the program."""
    blocks = " ".join(block for _, block in BLOCK.findall(text))
    return "catvnoncat" in blocks or "photos" in blocks


def prepare(folder: Path, datasets: Path | None = None) -> None:
    """Put the files that the examples name into a folder."""
    (folder / "data").symlink_to(ROOT / "data")
    if datasets is None:
        return
    for part in ("train", "test"):
        name = f"{part}_catvnoncat.h5"
        (folder / name).symlink_to(datasets / "catvnoncat" / name)
    (folder / "photos").symlink_to(datasets / "pets-sample")


def renewed(text: str, folder: Path) -> str:
    """A page with the output of each command as it is now; kept where only times differ."""

    def again(block: re.Match[str]) -> str:
        varies, lines = block[1] or "", []
        for command, shown in commands(block[2]):
            now = output_of(command, folder)
            lines.append(f"$ {command}\n{shown if steady(now) == steady(shown) else now}")
        return f"```console{varies}\n{''.join(lines)}```"

    return BLOCK.sub(again, text)


def require_true(text: str, folder: Path) -> None:
    """Run the commands of a page. Raises AssertionError for the first that prints other text."""
    for varies, block in BLOCK.findall(text):
        for command, shown in commands(block):
            now, before = (
                steady(output, bool(varies)) for output in (output_of(command, folder), shown)
            )
            assert now == before, (
                f"$ {command}\n{now}\n--- scripts/readme renews what was shown:\n{before}"
            )


def with_tables(text: str) -> str:
    """A page with its tables as the program and the other pages have them now."""

    def table(match: re.Match[str]) -> str:
        return _marked_text(match[1], TABLES[match[1]]()) if match[1] in TABLES else match[0]

    return MARKED.sub(table, text)


def _marked_text(name: str, text: str) -> str:
    return f"<!-- {name} -->\n\n{text}\n\n<!-- /{name} -->"


def put_between_marks(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` of a page."""
    before = page.read_text()
    found = [match[0] for match in MARKED.finditer(before) if match[1] == name]
    if len(found) != 1:
        raise SystemExit(f"{page.name} needs one block <!-- {name} --> … <!-- /{name} -->")
    page.write_text(before.replace(found[0], _marked_text(name, text)))


def program_commands() -> dict[str, Any]:
    """Every command that does something, with its options, by its name: ``data pack``."""
    from typer.main import get_command

    from catclf.cli.app import app

    program: Any = get_command(app)
    found: dict[str, Any] = {}
    for name in program.list_commands(None):
        command = program.get_command(None, name)
        below = getattr(command, "commands", None)
        found |= {f"{name} {each}": below[each] for each in below} if below else {name: command}
    return found


def command_lines() -> str:
    """A row for each command: the first sentence of its help."""
    rows = ["| command | does |", "| --- | --- |"]
    for name, command in program_commands().items():
        does = command.help.partition("\n\n")[0].removesuffix(".")
        rows.append(f"| `catclf {name}` | {does[0].lower()}{does[1:]} |")
    return "\n".join(rows)


def topic_lines() -> str:
    """A link to each page, with its summary."""
    from catclf.cli.help import read_pages, summary

    return "\n".join(
        f"- [{topic}](catclf/docs/{topic}.md): {summary(page)[0].lower()}{summary(page)[1:]}"
        for topic, page in read_pages().items()
    )


def accuracy_lines() -> str:
    """The columns of the table of features that hold accuracies with their intervals."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in _marked("features").split("\n\n")[0].splitlines()
    ]
    kept = [i for i in range(len(rows[0])) if i == 0 or all("%" in row[i] for row in rows[2:])]
    return "\n".join(f"| {' | '.join(row[i] for i in kept)} |" for row in rows)


TABLES: dict[str, Callable[[], str]] = {
    "commands": command_lines,
    "topics": topic_lines,
    "accuracy": accuracy_lines,
    "curve": lambda: _marked("features").split("\n\n")[1],
    "speed": lambda: next(part for part in _marked("bench").split("\n\n") if part[0] == "|"),
}


def _marked(name: str) -> str:
    """What stands between the marks of this name in the pages of catclf/docs."""
    parts: dict[str, str] = {}
    for page in PAGES[1:]:
        parts.update(MARKED.findall(page.read_text()))
    return parts[name].strip()


def main() -> None:
    datasets = os.environ.get("CATCLF_DATASETS")
    if not datasets:
        raise SystemExit("readme: set CATCLF_DATASETS to the folder that holds the data")
    for page in PAGES:
        with tempfile.TemporaryDirectory() as name:
            prepare(Path(name), Path(datasets).resolve())
            text = renewed(page.read_text(), Path(name))
        page.write_text(with_tables(text))


if __name__ == "__main__":
    main()
