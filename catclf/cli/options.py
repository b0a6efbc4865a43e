"""The options of commands, and what the shell completes for them.

An option that several commands share is an ``Annotated`` type with its help. Bounds and choices
are checked here and in ``catclf.settings``, not by Typer, whose words differ between its versions.
A completion is a hint: whatever goes wrong, there is none. It is read without NumPy, from the start
of a file, so that it is there at once.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, wraps
from glob import escape, glob
from itertools import islice, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from catclf.errors import SettingsError
from catclf.settings import BOUNDS, Settings, require_sound
from catclf.settings import DATA as DATA
from catclf.settings import OUTPUT as OUTPUT
from catclf.settings import TRAINING as TRAINING
from catclf.storage.location import is_remote
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.cluster import Address

DEFAULT = " Default: "  # before the default of an option in its help
# Endings of outputs, which mean something.
WRITTEN = {
    *(".npz", ".svg", ".png", ".jpg", ".jpeg", ".pdf", ".html", ".htm", ".json", ".jsonl", ".csv"),
    *(".tsv", ".txt", ".parquet", ".onnx", ".h5", ".hdf5", ".keras", ".pt", ".pth", ".pkl"),
    *(".xlsx", ".xls", ".ods", ".tar", ".gz", ".bz2", ".xz", ".zst", ".zip", ".ndjson"),
    *(".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2"),
}
FACTS = (*BOUNDS, "choices", "auto")
MODEL_BYTES, META_CHARACTERS = 64 * 1024 * 1024, 1024 * 1024  # the limits of the model file
TABLE_START = 65536  # bytes of a table that are looked at
VALUES_MAX = 200
SOURCES = ("data", "source", "sources", "test")  # parameters that may be a table

Options = dict[str, Any]  # the values of a group of options, by their names
Complete = Callable[[typer.Context, str], list[str]]


def option(
    *names: str,
    help: str,
    group: str | None = None,
    shown: object = None,
    complete: Callable[..., list[str]] | None = None,
    check: Callable[[Any], Any] | None = None,
    **more: Any,
) -> Any:
    """An option for ``Annotated``; without names it is called as its parameter.

    ``group`` is the panel of the help that it stands in, ``shown`` the default, which the help
    says, ``check`` a function of the value. What FACTS names is for ``settings.require_sound``; the
    rest goes to Typer (``metavar``, ``hidden``, …).
    """
    facts: dict[str, Any] = {key: more.pop(key) for key in FACTS if key in more}
    if choices := facts.get("choices"):
        complete = complete or (lambda: list(choices))
    if facts:
        more.setdefault("metavar", "WORD" if choices else "N")

    def checked(param: typer.CallbackParam, value: Any) -> Any:
        if facts.get("auto") and not choices:
            value = number_or_auto(param.opts[0], value)
        require_sound(param.opts[0].strip("-").replace("-", "_"), value, facts)
        return value if check is None else check(value)

    return typer.Option(
        *names,
        help=help if shown is None else f"{help}{DEFAULT}{shown}.",
        rich_help_panel=group,
        show_default=False,
        autocompletion=complete,
        callback=checked if facts or check else None,
        **more,
    )


def setting(name: str, **more: Any) -> Any:
    """The option of a setting of ``catclf.Settings``: its help, its group and its default."""
    field = Settings.__dataclass_fields__[name]
    facts = {"shown": field.default, **field.metadata, **more}
    facts.pop("kept")
    names = [f"--{each.replace('_', '-')}" for each in (name, facts.pop("alias", None)) if each]
    if field.type == "bool | None":
        names[0] += f"/--no-{name}"
    return option(*names, **facts)


def settings_options(*names: str) -> dict[str, Any]:
    """The options of settings, for ``Annotated[Options, …]``; one that is not given is None."""
    kinds = get_type_hints(Settings)
    for name, field in Settings.__dataclass_fields__.items():
        if kinds[name] is Any:
            kinds[name] = str if field.metadata.get("auto") else float
    return {name: Annotated[kinds[name] | None, setting(name)] for name in names}


def optional(kind: Any, *names: str, **facts: Any) -> Any:
    """The type of an option of a group, whose value is None, or False for a flag, if not given."""
    return Annotated[kind if kind is bool else kind | None, option(*names, **facts)]


of_data, of_training, of_output = (
    partial(optional, group=group) for group in (DATA, TRAINING, OUTPUT)
)


def optional_file(*names: str, **facts: Any) -> Any:
    """As above, of a file to be written."""
    return Annotated[Path | None, file_option(*names, **facts)]


def given(options: Options) -> Options:
    """The options of a group that are given."""
    return {name: value for name, value in options.items() if value is not None}


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer takes it, with the options of a group in the place of each group.

    A group is a parameter whose type is ``Annotated[Options, types]``: ``types`` is a dict from
    names of options to their types. The command gets their values as one dict: None, and False for
    a flag, where they are not given.
    """
    groups: dict[str, list[str]] = {}
    parameters = []
    for each in inspect.signature(command, eval_str=True).parameters.values():
        group = next(iter(getattr(each.annotation, "__metadata__", ())), None)
        if not isinstance(group, dict):
            parameters.append(each.replace(kind=each.KEYWORD_ONLY))
            continue
        groups[each.name] = list(group)
        for name, kind in group.items():
            default = False if get_args(kind)[0] is bool else None
            parameters.append(
                each.replace(name=name, kind=each.KEYWORD_ONLY, annotation=kind, default=default)
            )

    @wraps(command)
    def run(**given: Any) -> None:
        values = {name: {n: given.pop(n) for n in names} for name, names in groups.items()}
        command(**given, **values)

    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


# Checks of values. Each raises SettingsError.


def on_disk(path: Path | None) -> Path | None:
    """Refuse a store, for an option whose file grows while it is there."""
    if path is not None and is_remote(path):
        raise SettingsError(f"{printable(path)}: is written on disk alone: name a file there")
    return path


def ends_in(*endings: str) -> Callable[[Any], Any]:
    """A check of an output: its name does not end as a file of another kind does."""

    def check(path: str | Path | None) -> str | Path | None:
        if path is not None and Path(path).suffix.lower() in WRITTEN.difference(endings):
            raise SettingsError(
                f"{printable(path)}: another kind of file is written: end it in "
                f"{' or '.join(endings)}"
            )
        return path

    return check


def file_option(*names: str, endings: Sequence[str] = (), **more: Any) -> Any:
    """The option of a file to be written, whose name ends so, if ``endings`` are given."""
    check = ends_in(*endings) if endings else None
    return option(*names, **{"metavar": "FILE", "group": OUTPUT, "check": check} | more)


def number_or_auto(name: str, text: str | None) -> float | str | None:
    """The value of an option that takes a number or "auto"."""
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{name} {printable(text)}: is neither a number nor auto") from None


def pair(name: str, text: str | None) -> tuple[str, str] | None:
    """Two names from the text of an option, separated by a comma."""
    if text is None:
        return None
    names = [each.strip() for each in text.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise SettingsError(f"{name} {printable(text)}: two different names are needed, as in A,B")
    return names[0], names[1]


# What the shell completes


def hint(values: Callable[[typer.Context, str], Iterable[str]]) -> Complete:
    """Completions that begin with what is typed; none after a failure.

    Without names with blanks, which bash would insert as several arguments.
    """

    @wraps(values)
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        in_bash = os.environ.get("_CATCLF_COMPLETE") == "complete_bash"
        try:
            found = (
                value
                for value in values(ctx, incomplete)
                if value.startswith(incomplete)
                and value.isprintable()
                and not (in_bash and " " in value)
            )
            return list(islice(found, VALUES_MAX))
        except Exception:  # a file may hold anything at all
            return []

    return complete


@hint
def complete_model(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Model files; what else there is the shell completes."""
    return sorted(glob(f"{escape(incomplete)}*.npz"))  # noqa: PTH207  # keeps what is typed


@hint
def complete_class(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """The two classes of the model that the command is given."""
    import json

    from catclf.storage.npz import read_text

    named = ctx.params.get("model") or usual_model()
    path = Path(named[0] if isinstance(named, list | tuple) else named).expanduser()
    yield from json.loads(read_text(path, "meta", MODEL_BYTES, META_CHARACTERS))["classes"]


@hint
def complete_columns(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Pairs of columns of the first source that is a regular file, by its first line."""
    import csv

    # Arguments before an option that has no value yet are left in args.
    values = [*map(ctx.params.get, SOURCES), *ctx.args]
    listed = (each for value in values for each in (value if isinstance(value, list) else [value]))
    path = next(Path(each) for each in listed if each is not None and Path(each).is_file())
    with path.open("rb") as file:
        first = file.read(TABLE_START).decode("utf-8-sig").splitlines()[0]
    names = next(csv.reader([first], delimiter=max(",;\t|", key=first.count)))
    for two in permutations(filter(None, map(str.strip, names)), 2):
        yield ",".join(two)


# Models


def usual_model() -> str:
    """The model that is meant where none is named."""
    return os.environ.get("CATCLF_MODEL") or "model.npz"


MODEL_HELP = "Model file made by train."


def models_option(several: str = "", **more: Any) -> Any:
    """The option of a model file, or of several: ``several`` says what happens with more."""
    return option(
        *("--model", "-m"),
        help=f"{MODEL_HELP} {several}".strip(),
        metavar="FILE",
        shown="model.npz, or CATCLF_MODEL",
        complete=complete_model,
        **more,
    )


ModelPath = Annotated[Path, models_option(envvar="CATCLF_MODEL")]
ModelArgument = Annotated[
    Path,
    typer.Argument(
        default_factory=usual_model,
        metavar="[MODEL]",
        help=f"{MODEL_HELP}{DEFAULT}model.npz.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
Threshold = Annotated[
    float | None,
    option(
        help="Probability above which an image is positive.",
        group=OUTPUT,
        low=0.0,
        high=1.0,
        shown="the model's, 0.5 unless chosen",
    ),
]

# Data
SOURCE_HELP = "HDF5 file, folders of images, zip, tar, table or .npz."
SourcePath = Annotated[Path, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)]
Data = Annotated[
    Path | None, option(help=SOURCE_HELP, metavar="DATA", shown="drawings", group=DATA)
]
MAX_PIXELS_HELP = "Refuse larger images before decoding them."
TRUNCATED_HELP = "Read what is there of image files that are cut short."
_rare = partial(of_data, hidden=True)
SplitOption = of_data(
    str,
    help="The split taken of a source that is divided: train, validation or test.",
    choices=("train", "validation", "test"),
    shown="test where there are both",
)
PositiveName = of_data(
    str,
    help="What the positive class is called in this data.",
    metavar="CLASS",
    shown="as in the model",
)
READING = {
    "size": of_data(
        int,
        help="Height and width of the images.",
        low=1,
        high=1024,
        metavar="PIXELS",
        shown="by features",
    ),
    "fit": of_data(
        str,
        help="How files become square: squash, crop or pad.",
        choices=("squash", "crop", "pad"),
        shown="squash",
    ),
    "positive": of_data(str, help="The class to find.", metavar="CLASS", shown="cat"),
    "skip_bad": of_data(bool, "--skip-bad", help="Leave unreadable images out."),
}
RARELY_READING = {
    "label_from": _rare(
        str,
        help="Where labels of files in folders are: folder, or name (cat.0.jpg is of cat).",
        choices=("folder", "name"),
        shown="folder",
    ),
    "classes": _rare(
        str,
        help="Names of labels 0 and 1 where the data do not name them.",
        metavar="NAME,NAME",
        shown="non-cat,cat",
        check=partial(pair, "--classes"),
    ),
    "columns": _rare(
        str,
        help="Columns of a table, by name or number.",
        metavar="PATH,LABEL",
        shown="path and label, or the like",
        complete=complete_columns,
        check=partial(pair, "--columns"),
    ),
    "keys": _rare(
        str,
        help="Keys in an HDF5 file or .npz; of samples in a tar, endings or a key of .json: "
        "jpg,label.",
        metavar="IMAGES,LABELS",
        shown="x and y, or the like",
        check=partial(pair, "--keys"),
    ),
    "max_pixels": _rare(int, help=MAX_PIXELS_HELP, low=1, shown="250 million"),
    "truncated": _rare(bool, "--truncated", help=TRUNCATED_HELP),
    "outside": _rare(bool, "--outside", help="Read files outside a table's folder."),
    "remote_rows": _rare(bool, "--allow-remote-rows", help="Fetch the URLs in a table."),
}


def reading_options(*names: str, **others: Any) -> dict[str, Any]:
    """The options of reading data, for ``Annotated[Options, …]``.

    Those are the ones that ``names`` names, ``others`` by their names, and all hidden ones.
    """
    return {name: READING[name] for name in names} | others | RARELY_READING


Labelled = Annotated[Options, reading_options("skip_bad", split=SplitOption, positive=PositiveName)]
Reading = Annotated[Options, reading_options("size", "fit", "positive", "skip_bad")]

# Output
JsonOrText = Annotated[
    str,
    option("--format", help="text or json.", choices=("text", "json"), shown="text", group=OUTPUT),
]
Quiet = Annotated[bool, option("--quiet", "-q", help="Print no results.", group=OUTPUT)]

# Machines
Workers = of_training(
    int, help="Threads; the result is always the same.", low=1, high=1024, shown="one a core"
)
CLUSTER = {
    "cluster": of_training(
        str,
        help="Dask's workers: local:N starts N here; catclf help cluster.",
        metavar="ADDRESS",
    ),
    "insecure": of_training(
        *(bool, "--insecure"),
        help="Allow tcp:// to other machines: who reaches a scheduler runs code as you.",
        hidden=True,
    ),
}


def address_of(given: Options) -> Address | None:
    """The address that --cluster names, before anything is read; None without the option."""
    if given["cluster"] is None:
        if given["insecure"]:
            raise SettingsError("--insecure is for --cluster tcp://host:port: give both")
        return None
    from catclf.cluster import parse

    return parse(given["cluster"], insecure=given["insecure"])
