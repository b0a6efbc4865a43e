"""Manual pages: texts and Markdown in the language that ``man`` reads, groff's man macros.

Markdown is what the pages of the documentation use: headings, paragraphs, lists, tables, fenced
code, and within lines code, bold and links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

TABLES = "'\\\" t"  # the first line of a page: man passes it through tbl
_SPECIAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|\[([^\]]+)\]\(([^)]+)\)", re.DOTALL)
_PAGE = re.compile(r"([a-z-]+)\.md(?:#[a-z-]+)?")
_ITEM = re.compile(r"(-|\d+\.) +")
_RULE = re.compile(r"\|[ :|-]+\|")
_CELL = re.compile(r"(?<!\\)\|")
_WIDE = 24  # characters of a column that is broken into lines
_LINE = 72  # characters of a table, in a terminal of 80


def text(plain: str) -> str:
    """A line of any text as it is: no character of it has a meaning."""
    return _line(_escaped(plain))


def bold(plain: str) -> str:
    """A text in bold."""
    return f"\\fB{_escaped(plain)}\\fR"


def italic(plain: str) -> str:
    """A text in italics, or underlined."""
    return f"\\fI{_escaped(plain)}\\fR"


def head(name: str, section: int, version: str) -> list[str]:
    """The first lines of a page."""
    title = text(name.upper())
    return [
        TABLES,
        f'.TH "{title}" "{section}" "" "{text(version)}" "catclf"',
        ".nr HY 0",
        ".nh",
        ".ad l",
    ]


def section(title: str, lines: Sequence[str], level: int = 1) -> list[str]:
    """A section with its heading, or at level 2 a section within one."""
    name = text(title.upper() if level == 1 else title)
    return [f'.{"SH" if level == 1 else "SS"} "{name}"', *lines]


def code(block: str) -> list[str]:
    """Lines that stay as they are, indented."""
    return [".PP", ".RS 4", ".EX", *map(text, block.rstrip("\n").split("\n")), ".EE", ".RE"]


def term(label: str, about: str) -> list[str]:
    """A label, which may have fonts, and below it a plain text."""
    return [".TP", label, text(about)]


def from_markdown(page: str, level: int = 1) -> list[str]:
    """A page below its title, whose sections are of this level."""
    lines: list[str] = []
    for block in _blocks(page):
        first = block.split("\n", 1)[0]
        if first.startswith("# "):
            continue
        if first.startswith("#"):
            lines += section(first.lstrip("# "), [], min(2, level + first.count("#", 0, 3) - 2))
        elif first.startswith("```"):
            lines += code(block.split("\n", 1)[1].removesuffix("```"))
        elif first.startswith("|"):
            lines += _table(block)
        elif _ITEM.match(first):
            lines += _list(block)
        else:
            lines += [".PP", _inline(" ".join(block.split()))]
    return lines


def _escaped(plain: str) -> str:
    return "".join(
        _SPECIAL.get(letter, letter) if letter < "\x7f" else f"\\[u{ord(letter):04X}]"
        for letter in plain
    )


def _line(escaped: str) -> str:
    """A line that is no request, which begins with a dot."""
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _blocks(page: str) -> Iterator[str]:
    """Parts that blank lines divide; fenced code is one, whatever it holds."""
    for part in re.split(r"(^```.*?^```$)", page, flags=re.DOTALL | re.MULTILINE):
        if part.startswith("```"):
            yield part
        else:
            yield from filter(None, (each.strip("\n") for each in re.split(r"\n\s*\n", part)))


def _inline(line: str) -> str:
    """A text with its code, bold parts and links; a link to a page names the command for it."""
    parts, end = [], 0
    for match in _INLINE.finditer(line):
        parts.append(_escaped(line[end : match.start()]))
        literal, strong, label, target = match.groups()
        if target is not None and (page := _PAGE.fullmatch(target)):
            parts.append(bold(f"catclf help {page[1]}"))
        elif target is not None:
            parts.append(_escaped(label))
        else:
            parts.append(bold(literal or strong))
        end = match.end()
    return _line("".join([*parts, _escaped(line[end:])]))


def _list(block: str) -> list[str]:
    """Items with their dashes or numbers; an item's other lines are indented."""
    items: list[str] = []
    for line in block.split("\n"):
        if _ITEM.match(line):
            items.append(line)
        else:
            items[-1] += " " + line.strip()
    lines = []
    for item in items:
        mark, rest = item.split(maxsplit=1)
        sign = "\\(bu" if mark == "-" else mark
        lines += [f'.IP "{sign}" 4', _inline(rest)]
    return lines


def _table(block: str) -> list[str]:
    """A table for tbl, whose wide columns are broken into lines."""
    rows = [
        [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip()[1:-1])]
        for line in block.split("\n")
        if not _RULE.fullmatch(line)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(min(width, _WIDE) + 3 for width in widths) > _LINE:
        return _rows_as_lists(rows)
    kinds = ["lx" if width > _WIDE else "l" for width in widths]
    heads = " ".join(kind.replace("l", "lb") for kind in kinds)
    cells = ["\t".join(f"T{{\n.nh\n{_inline(cell)}\nT}}" for cell in row) for row in rows]
    return [".PP", ".TS", "tab(\t);", heads, f"{' '.join(kinds)}.", *cells, ".TE", ".nh"]


def _rows_as_lists(rows: list[list[str]]) -> list[str]:
    """For each row its first cell, and below it the others, each after its head."""
    lines = []
    for first, *others in rows[1:]:
        lines += [".TP", f"\\fB{_inline(first)}\\fR"]
        for head, cell in zip(rows[0][1:], others, strict=True):
            lines += [f"{_inline(head)}: {_inline(cell)}", ".br"]
        lines.pop()
    return lines
