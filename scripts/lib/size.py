"""Code lines of catclf/ by room, of tests/ and of scripts/: no docstrings, comments or blanks.

The second column holds lines of scripts, styles and pages for browsers and of TOML, so that code
which moves there is no saving.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
BESIDES = (".js", ".css", ".html", ".toml")
NO_CODE = {
    getattr(tokenize, kind)
    for kind in ["COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"]
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> int:
    """The lines of Python source that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            first = node.body[0]
            lines.difference_update(range(first.lineno, (first.end_lineno or 0) + 1))
    return len(lines)


def sizes() -> dict[str, Counter[str]]:
    """By room of catclf/ and folder beside it: code lines, lines besides and modules."""
    found: dict[str, Counter[str]] = {}
    for top in ("catclf", "tests", "scripts"):
        for path in sorted((ROOT / top).rglob("*")):
            parts = path.relative_to(ROOT).parts
            room = "/".join(parts[: 1 + (top == "catclf" and len(parts) > 2)]) + "/"
            counts = found.setdefault(room, Counter())
            if path.suffix == ".py":
                counts["code"] += code_lines(path.read_text())
                counts["modules"] += path.name != "__init__.py"
            elif path.suffix in BESIDES:
                counts["besides"] += len(path.read_text().splitlines())
    return found


def total(rows: dict[str, Counter[str]], top: str) -> Counter[str]:
    """The sum of the rows of one folder at the top."""
    return sum((row for room, row in rows.items() if room.startswith(f"{top}/")), Counter())


def main() -> None:
    rows = sizes()
    rows["catclf/ in all"] = total(rows, "catclf")
    print(f"{'':24}{'code':>8}{'besides':>9}{'modules':>9}")
    for name, row in rows.items():
        print(f"{name:24}{row['code']:8,}{row['besides']:9,}{row['modules']:9,}")


if __name__ == "__main__":
    main()
