"""Markdown as a terminal shows it, drawn by rich, which is loaded with this module."""

from __future__ import annotations

import re
from typing import ClassVar, TextIO

from rich.console import Console, ConsoleOptions, RenderResult  # noqa: TID251
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement  # noqa: TID251
from rich.padding import Padding  # noqa: TID251
from rich.text import Text  # noqa: TID251
from rich.theme import Theme  # noqa: TID251

from catclf.terminal.stream import use_colour

MAX_WIDTH = 100  # characters: longer lines are hard to read
_PAGE_LINK = re.compile(r"\[[^\]]+\]\(([a-z-]+)\.md(?:#[a-z-]+)?\)")
_PLAIN = {  # rich's own colours are for dark backgrounds
    "markdown.code": "bold",
    "markdown.item.bullet": "none",
    "markdown.item.number": "none",
    "markdown.table.border": "dim",
    "markdown.table.header": "bold",
}


def render(text: str, stream: TextIO) -> str:
    """A page for the terminal ``stream``, with its escapes and at its width.

    The command that shows a page stands in place of a link to it.
    """
    console = Console(
        file=stream,
        force_terminal=True,
        no_color=not use_colour(stream),
        highlight=False,
        theme=Theme(_PLAIN),
    )
    console.width = min(console.width, MAX_WIDTH)
    page = _PAGE_LINK.sub(r"`catclf help \1`", text)
    with console.capture() as shown:
        console.print(_Page(page, hyperlinks=False))
    return "\n".join(line.rstrip() for line in shown.get().splitlines()) + "\n"


class _Title(Heading):
    """A heading at the left, in bold."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.text.plain, "bold underline" if self.tag == "h1" else "bold")


class _Code(CodeBlock):
    """Indented text with its commands in bold."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = Text(self.text.plain.rstrip("\n"))
        code.highlight_regex(r"(?m)^\$ .*$", "bold")
        yield Padding(code, (0, 0, 0, 4))


class _Page(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Title,
        "fence": _Code,
        "code_block": _Code,
    }
