"""Manual pages in roff: of the program, of one command, of a topic; from the texts of the help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catclf.terminal import roff
from catclf.version import __version__

EXIT_CODES = "exit-codes"  # the topic that the page of the program holds
_VERSION = f"catclf {__version__}"


def program_manual(program: Any, context: Any, pages: dict[str, str]) -> str:
    """catclf(1): every command with its options, exit codes, and the list of topics."""
    commands: list[str] = []
    for name, command, below in _commands(program, context):
        commands += roff.section(f"catclf {name}", _command(command, below), 2)
    topics = [
        line
        for topic, page in pages.items()
        for line in roff.term(roff.bold(f"catclf help {topic}"), page.split("\n", 3)[2])
    ]
    about = program.help.removesuffix(".")
    lines = [
        *roff.head("catclf", 1, _VERSION),
        *_name("catclf", about),
        *roff.section("Synopsis", _usage(program, context)),
        *roff.section("Options", _parameters(program, context)),
        *roff.section("Commands", commands),
        *roff.section("Exit status", roff.from_markdown(pages[EXIT_CODES], level=2)),
        *roff.section("Environment", _environment(program, context)),
        *roff.section("See also", topics),
    ]
    return "\n".join(lines) + "\n"


def command_manual(name: str, command: Any, context: Any) -> str:
    """catclf-COMMAND(1): what --help of the command shows."""
    lines = [*roff.head(f"catclf-{name}", 1, _VERSION)]
    lines += _name(f"catclf-{name}", command.help.split("\n\n")[0].removesuffix("."))
    if hasattr(command, "commands"):
        for below, each, inner in _commands(command, context):
            lines += roff.section(f"catclf {name} {below}", _command(each, inner))
    else:
        lines += roff.section("Synopsis", _usage(command, context))
        lines += roff.section("Description", _paragraphs(command.help))
        lines += roff.section("Options", _parameters(command, context))
    return "\n".join([*lines, *_see_also()]) + "\n"


def topic_manual(topic: str, page: str) -> str:
    """catclf-TOPIC(7): a page of the documentation."""
    about = page.split("\n", 3)[2].removesuffix(".")
    body = roff.from_markdown(page.split("\n", 3)[3])
    lines = [*roff.head(f"catclf-{topic}", 7, _VERSION), *_name(f"catclf-{topic}", about)]
    if not body[0].startswith(".SH"):
        body = roff.section("Description", body)
    return "\n".join([*lines, *body, *_see_also()]) + "\n"


def _commands(group: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every command that does something, with its context, by its name: ``data pack``."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        # With resilient parsing nothing is required, and nothing printed.
        below = command.make_context(name, [], parent=context, resilient_parsing=True)
        if hasattr(command, "commands"):
            for inner, each, its in _commands(command, below):
                yield f"{name} {inner}", each, its
        else:
            yield name, command, below


def _name(name: str, about: str) -> list[str]:
    return roff.section(
        "Name", [f"{roff.text(name)} \\- {roff.text(about[0].lower() + about[1:])}"]
    )


def _see_also() -> list[str]:
    return roff.section("See also", [f"{roff.bold('catclf')}(1)"])


def _command(command: Any, context: Any) -> list[str]:
    """Usage, text and options of a command."""
    usage, parameters = _usage(command, context), _parameters(command, context)
    return [*usage, *_paragraphs(command.help), *parameters]


def _usage(command: Any, context: Any) -> list[str]:
    pieces = " ".join(map(roff.italic, command.collect_usage_pieces(context)))
    return [".PP", f"{roff.bold(context.command_path)} {pieces}"]


def _paragraphs(help: str) -> list[str]:
    """The text of a command; its example as code."""
    lines: list[str] = []
    for paragraph in help.split("\n\n"):
        before, mark, example = paragraph.partition("Example: ")
        if mark and not before:
            lines += [".PP", "Example:", *roff.code(example)]
        else:
            lines += [".PP", roff.text(paragraph)]
    return lines


def _parameters(command: Any, context: Any) -> list[str]:
    """Arguments and options, with the texts that the help of the command shows."""
    lines: list[str] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            names, about = record
            fonts = (
                roff.bold(part) if part.startswith("-") else roff.italic(part)
                for part in names.split(" ")
            )
            lines += roff.term(" ".join(fonts), " ".join(about.split()))
    return lines


def _environment(program: Any, context: Any) -> list[str]:
    """The variables that stand for options, each once."""
    known = {}
    for _, command, below in _commands(program, context):
        for parameter in command.get_params(below):
            if isinstance(getattr(parameter, "envvar", None), str):
                known[parameter.envvar] = f"{parameter.opts[0]}: {parameter.help}"
    return [line for name, about in known.items() for line in roff.term(roff.bold(name), about)]
