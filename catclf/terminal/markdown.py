"""Markdown as a terminal shows it, drawn by rich, which is loaded with this module."""

from __future__ import annotations

import re
from typing import ClassVar, TextIO

from rich import box  # noqa: TID251
from rich.console import Console, ConsoleOptions, RenderResult  # noqa: TID251
from rich.markdown import (  # noqa: TID251
    CodeBlock,
    Heading,
    Markdown,
    MarkdownElement,
    TableElement,
)
from rich.padding import Padding  # noqa: TID251
from rich.table import Table  # noqa: TID251
from rich.text import Text  # noqa: TID251
from rich.theme import Theme  # noqa: TID251

from catclf.terminal.stream import use_colour

MAX_WIDTH = 100  # characters: longer lines are hard to read
MIN_COLUMN = 12  # characters of a column that people can read; narrower ones become lists
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


class _Table(TableElement):
    """A table; a list for each row, where the terminal is too narrow for the columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        assert self.header is not None
        assert self.header.row is not None
        assert self.body is not None
        heads = [cell.content for cell in self.header.row.cells]
        rows = [[cell.content for cell in row.cells] for row in self.body.rows]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, style="markdown.table.border")
        for head in heads:
            head.stylize("markdown.table.header")
            table.add_column(head, justify=head.justify or "default")
        for row in rows:
            table.add_row(*row)
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        natural = sum(widths) + 3 * len(widths)  # with what rich puts between columns
        if options.max_width < min(natural, MIN_COLUMN * len(heads)):
            yield _as_lists(heads, rows)
        else:
            yield table


def _as_lists(heads: list[Text], rows: list[list[Text]]) -> Text:
    """For each row its first cell, and below it a line for each other cell with its head."""
    width = max(len(head) for head in heads)
    lines = []
    for row in rows:
        lines.append(Text.assemble(row[0], style="bold"))
        lines += [
            Text.assemble("    ", head.plain.ljust(width), "  ", cell)
            for head, cell in zip(heads[1:], row[1:], strict=True)
            if cell
        ]
    return Text("\n").join(lines)


class _Page(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Title,
        "fence": _Code,
        "code_block": _Code,
        "table_open": _Table,
    }
