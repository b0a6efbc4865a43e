"""``catclf help``: the documentation, a page for each topic, read in the terminal."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

import typer

from catclf.cli.completion import complete_topic
from catclf.cli.stdout import put
from catclf.errors import InputError
from catclf.terminal.stream import is_terminal
from catclf.text import printable

_COMMENT = re.compile(r"^<!--.*?-->\n\n?", re.MULTILINE)  # the marks of generated parts


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
    if topic is None:
        put(_list_topics(pages))
    elif topic in pages:
        put(_show_page(pages[topic]))
    else:
        _show_command(ctx, topic, list(pages))


def read_pages() -> dict[str, str]:
    """The text of each page in Markdown, by topic, in alphabetical order."""
    from importlib.resources import files

    folder = files("catclf") / "docs"
    pages = {
        page.name.removesuffix(".md"): page.read_text(encoding="utf-8")
        for page in folder.iterdir()
        if page.name.endswith(".md")
    }
    return dict(sorted(pages.items()))


def summary(page: str) -> str:
    """What a page is about: the line below its title."""
    return page.split("\n", 3)[2]


def _list_topics(pages: dict[str, str]) -> str:
    width = max(map(len, pages))
    lines = [f"{topic:<{width}}  {summary(page)}" for topic, page in pages.items()]
    return "\n".join([*lines, "", "catclf help TOPIC shows a page.", ""])


def _show_page(page: str) -> str:
    text = _COMMENT.sub("", page)
    if not is_terminal(sys.stdout):
        return text
    from catclf.terminal.markdown import render

    return render(text, sys.stdout)


def _show_command(ctx: typer.Context, name: str, topics: list[str]) -> None:
    """Show the help of a command. Raises InputError if the name is not one."""
    program: Any = ctx.parent and ctx.parent.command
    names = program.list_commands(ctx.parent)
    if name in names:
        program.get_command(ctx.parent, name).make_context(name, ["--help"], parent=ctx.parent)
        return
    from difflib import get_close_matches

    close = get_close_matches(name, [*topics, *names], n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"there is no topic {printable(name)}: {meant}'catclf help' lists the topics")
