"""Commands that refuse mistakes of usage first, and whose help is written as a result."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from catclf.cli.signals import ExitCode
from catclf.cli.stdout import abandon_stdout, put
from catclf.errors import OutputError
from catclf.text import printable


@contextmanager
def printing_help() -> Iterator[None]:
    """A block that may print help, and that fails as results do if stdout cannot be written."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, and not when Python ends, which has a code of its own
    except (BrokenPipeError, SystemExit):  # rich, which prints help, makes the first the second
        abandon_stdout()
        raise typer.Exit(ExitCode.CLOSED_PIPE) from None
    except OSError as error:
        abandon_stdout()
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def put_help(ctx: typer.Context) -> None:
    """Print the help of a group that is called without a command."""
    with printing_help():
        put(ctx.get_help() + "\n")


INPUTS = "paths"  # the argument that holds any number of inputs, as ``predict`` calls it


class Group(TyperGroup):
    """Commands with a name in common."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with printing_help():
            return super().make_context(*args, **extra)


class Command(TyperCommand):
    """Refuses empty values, and says how to give a file whose name looks like an option."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with printing_help():
            return super().make_context(*args, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            if not ctx.resilient_parsing and any(
                arg == "" or arg.endswith("=") for arg in given
            ):  # a command line to be completed may hold anything
                self._refuse_empty(ctx, given)
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if hint := _hint(given):
                error.add_note(hint)
            raise

    def _refuse_empty(self, ctx: Any, args: list[str]) -> None:
        """Raise BadParameter for an empty value, which as a path would be this folder.

        It comes from a variable of a script that is not set. Among several inputs, each with a
        record of its own, it is one that fails.
        """
        values, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.get_params(ctx):
            value = values.get(str(parameter.name))
            several = value if isinstance(value, list | tuple) else [value]
            recorded = parameter.name == INPUTS and any(several)
            if "" in several and not recorded:
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
