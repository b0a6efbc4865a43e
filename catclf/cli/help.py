"""``catclf help``: the documentation, a page for each topic, read in the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from catclf.cli.options import hint
from catclf.cli.shell import paged, put
from catclf.cli.usage import meant
from catclf.errors import InputError
from catclf.terminal.stream import is_terminal
from catclf.text import aligned, printable

SETTINGS = "settings"  # the topic that is made from the options of train
SETTINGS_ABOUT = "All options of train, which are also keys of its TOML file and names in Python."
SETTINGS_INTRO = (
    "A key of `--config FILE` is the name of an option without its dashes. A field of "
    "`catclf.Settings`, and a keyword of `catclf.train`, has `_` in the place of `-`."
)
_COMMENT = re.compile(r"^<!--.*?-->\n\n?", re.MULTILINE)  # the marks of generated parts


@hint
def complete_topic(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Topics and commands, for the completion of the shell."""
    program: Any = ctx.parent and ctx.parent.command
    yield from dict.fromkeys([*read_pages(), *program.list_commands(ctx.parent)])


def help(
    ctx: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]",
            help="A topic, or the name of a command.",
            autocompletion=complete_topic,
            show_default="the list of topics",
        ),
    ] = None,
) -> None:
    """Show a page of the documentation, or the list of its topics.

    A pipe gets the page as Markdown. The name of a command shows the command's --help.

    Example: catclf help pipelines
    """
    pages = read_pages()
    program: Any = ctx.parent and ctx.parent.command
    commands = program.list_commands(ctx.parent)
    if topic is None:
        abouts = {name: summary(page) for name, page in pages.items()} | {SETTINGS: SETTINGS_ABOUT}
        lines = aligned(sorted(abouts.items()), "<<")
        put("\n".join([*lines, "", "catclf help TOPIC shows a page.", ""]))
    elif topic in pages:
        _show_page(pages[topic])
    elif topic == SETTINGS:
        _show_page(_settings_page(program.get_command(ctx.parent, "train")))
    elif topic in commands:
        command = program.get_command(ctx.parent, topic)
        command.make_context(topic, ["--help"], parent=ctx.parent)
    else:
        other = meant(topic, [*pages, SETTINGS, *commands])
        hint = f"did you mean {other}?" if other else "'catclf help' lists the topics"
        raise InputError(f"there is no topic {printable(topic)}: {hint}")


def read_pages() -> dict[str, str]:
    """The text of each page in Markdown, by topic, in alphabetical order."""
    from importlib.resources import files

    pages = sorted((files("catclf") / "docs").iterdir(), key=lambda page: page.name)
    return {page.name.removesuffix(".md"): page.read_text(encoding="utf-8") for page in pages}


def summary(page: str) -> str:
    """What a page is about: the line below its title."""
    return page.split("\n", 3)[2]


def _show_page(page: str) -> None:
    """Print a page: as Markdown into a pipe; laid out, and through a pager, on a terminal."""
    text = _COMMENT.sub("", page)
    if is_terminal(sys.stdout):
        from catclf.terminal.markdown import render

        text = render(text, sys.stdout)
    with paged():
        put(text)


def _settings_page(command: Any) -> str:
    """Every option of a command by group, with those that its --help leaves out."""
    groups: dict[str, list[str]] = {}
    for option in command.params:
        names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
        value = f" {option.metavar}" if option.metavar else ""
        group = getattr(option, "rich_help_panel", None) or "Arguments"
        groups.setdefault(group, []).append(f"- {names}{value}: {option.help}")
    parts = [f"# {SETTINGS.capitalize()}", SETTINGS_ABOUT, SETTINGS_INTRO]
    for group, lines in groups.items():
        parts += [f"## {group}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"
