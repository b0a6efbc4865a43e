"""The program: its commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from catclf import machine
from catclf.cli import shell
from catclf.cli.shell import ExitCode, Stopped
from catclf.cli.usage import Group, add_command, put_help, require_command
from catclf.errors import CatclfError
from catclf.version import __version__

# Each is a function, or a group, in the module of catclf.cli that has its name.
COMMANDS = (
    *("train", "predict", "sort", "evaluate", "compare", "explain", "check", "report", "inspect"),
    *("export", "data", "help"),
)
_debug = False


class Program(Group):
    """A group of commands that ends every failure with one line on stderr and a documented code.

    A command is loaded and built when it is called or listed: building all of them takes longer
    than scoring an image.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _built(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        require_command(args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except Exception as error:
            if _debug:
                raise
            shell.warn(_line(error))
            code = ExitCode.FAILED
        shell.settle_stderr()
        sys.exit(int(code or 0))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # before Typer makes it an exit code of its own
            shell.abandon()
            raise typer.Exit(ExitCode.CLOSED_PIPE) from None
        except (KeyboardInterrupt, Stopped) as stopped:
            shell.warn("; ".join(["interrupted", *getattr(stopped, "__notes__", [])]))
            code = stopped.code if isinstance(stopped, Stopped) else ExitCode.INTERRUPTED
            raise typer.Exit(code) from None


app = typer.Typer(
    name="catclf",
    cls=Program,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Train logistic regression on images, and score images with it.",
    epilog="Start with: catclf train --data FOLDER, with a folder of images for each class in it. "
    "Then: catclf predict IMAGES. More: catclf help",
)


@app.callback()
def program(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    no_pager: Annotated[
        bool, typer.Option("--no-pager", help="Show long texts at once, without PAGER.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Train logistic regression on images, and score images with it."""
    global _debug
    _debug, shell.pager_allowed = debug, not no_pager
    if version:
        shell.put(f"catclf {__version__}\n")
    elif ctx.invoked_subcommand is None:
        put_help(ctx)


def main() -> None:
    """Run the program with the arguments of the shell, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            # A name that the locale cannot show must not end a run.
            stream.reconfigure(errors="backslashreplace")
    machine.is_command = True
    shell.raise_on_signals()
    app(prog_name="catclf")


def _built(name: str) -> Any:
    """The command or the group of commands of this name."""
    command = getattr(import_module(f"catclf.cli.{name}"), name)
    if isinstance(command, typer.Typer):
        built: Any = typer.main.get_group(command)
    else:
        alone = typer.Typer(add_completion=False)
        add_command(alone, command)
        built = typer.main.get_command(alone)
    built.name = name
    return built


def _line(error: Exception) -> str:
    """The line that stderr gets: the failure, its place, and a remedy."""
    if isinstance(error, CatclfError):
        return str(error)
    if hasattr(error, "format_message"):  # usage, of a class that differs between Typers
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "catclf"
        return f"{error.format_message().rstrip('.')}. See '{command} --help'."
    if isinstance(error, OSError) and error.filename is None and error.strerror:
        return f"{error.strerror}: the system refused a resource that this needs"
    if isinstance(error, MemoryError):
        return "not enough memory: try a smaller data set or --size"
    kind = type(error).__name__
    return f"unexpected {kind}: {error}: please report it; 'catclf --debug …' shows where"
