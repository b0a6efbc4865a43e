"""A command whose mistakes of usage are named before anything is done."""

from __future__ import annotations

import os
from typing import Any

import typer
from typer.core import TyperCommand

from catclf.files import printable


class Command(TyperCommand):
    """Refuses empty values, and says how to name a file that looks like an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            if any(arg == "" or arg.endswith("=") for arg in given):
                self._refuse_empty(ctx, given)
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if hint := _hint(given):
                error.add_note(hint)
            raise

    def _refuse_empty(self, ctx: Any, args: list[str]) -> None:
        """No option or argument has a use for nothing, and as a path it would be this folder.

        It comes from a variable of a script that is not set.
        """
        values, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.get_params(ctx):
            value = values.get(str(parameter.name))
            if value == "" or (isinstance(value, list | tuple) and "" in value):
                raise typer.BadParameter(
                    "it is empty: leave it out, or give a value.", ctx=ctx, param=parameter
                )


def _hint(args: list[str]) -> str:
    """How to give a file whose name begins with a dash, if there is one of these names."""
    options = args[: args.index("--")] if "--" in args else args
    for name in options:
        if len(name) > 1 and name.startswith("-") and os.path.lexists(name):
            shown = printable(name)
            return f"If the file {shown} is meant, give ./{shown}, or -- before it."
    return ""
