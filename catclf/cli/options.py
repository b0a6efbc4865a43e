"""The options of commands: each that several share is an ``Annotated`` type with its help.

Bounds and choices are checked here and in ``catclf.settings``, not by Typer, whose words differ
between its versions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from catclf.cli.completion import complete_columns, complete_model
from catclf.errors import SettingsError
from catclf.settings import BOUNDS, Settings, require_sound
from catclf.settings import DATA as DATA
from catclf.settings import OUTPUT as OUTPUT
from catclf.settings import TRAINING as TRAINING
from catclf.storage.location import is_remote
from catclf.text import printable

DEFAULT = " Default: "  # before the default of an option in its help
# Endings of outputs, which mean something.
WRITTEN = {
    *(".npz", ".svg", ".png", ".jpg", ".jpeg", ".pdf", ".html", ".htm", ".json", ".jsonl", ".csv"),
    *(".tsv", ".txt", ".parquet", ".onnx", ".h5", ".hdf5", ".keras", ".pt", ".pth", ".pkl"),
    *(".xlsx", ".xls", ".ods", ".tar", ".gz", ".bz2", ".xz", ".zst", ".zip", ".ndjson"),
    *(".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2"),
}
FACTS = (*BOUNDS, "choices", "auto")


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
        if facts:
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
    """The option of a setting of ``catclf.Settings``: its help, its group and its default.

    ``Settings`` checks the value.
    """
    field = Settings.__dataclass_fields__[name]
    facts = field.metadata
    choices = facts.get("choices")
    number = any(bound in facts for bound in BOUNDS)
    names = [f"--{each.replace('_', '-')}" for each in (name, facts.get("alias")) if each]
    if field.type == "bool | None":
        names[0] += f"/--no-{name}"
    return option(
        *names,
        **{
            "help": facts["help"],
            "group": facts["group"],
            "shown": facts.get("shown", field.default),
            "metavar": facts.get("metavar", "WORD" if choices else "N" if number else None),
            "complete": (lambda: list(choices)) if choices else None,
            "check": partial(number_or_auto, name) if number and facts.get("auto") else None,
            "hidden": facts.get("hidden", False),
        }
        | more,
    )


def settings_options(*names: str) -> dict[str, Any]:
    """The options of settings, for ``Annotated[Options, …]``; one that is not given is None."""
    hints = get_type_hints(Settings)
    facts = {name: Settings.__dataclass_fields__[name].metadata for name in names}
    kinds = {
        name: (str if facts[name].get("auto") else float) if hints[name] is Any else hints[name]
        for name in names
    }
    return {name: Annotated[kinds[name] | None, setting(name)] for name in names}


Options = dict[str, Any]  # the values of a group of options, by their names


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


def on_disk(path: Path | None) -> Path | None:
    """Refuse a store, for an option whose file grows while it is there. Raises SettingsError."""
    if path is not None and is_remote(path):
        raise SettingsError(f"{printable(path)}: is written on disk alone: name a file there")
    return path


def ends_in(*endings: str) -> Callable[[Path | None], Path | None]:
    """A check of an output: its name does not end as a file of another kind does."""

    def check(path: Path | None) -> Path | None:
        if path is not None and path.suffix.lower() in WRITTEN.difference(endings):
            raise SettingsError(
                f"{printable(path)}: another kind of file is written: end it in "
                f"{' or '.join(endings)}"
            )
        return path

    return check


def file_option(*names: str, endings: Sequence[str] = (), **more: Any) -> Any:
    """The option of a file to be written, whose name ends so, if ``endings`` are given."""
    check = ends_in(*endings) if endings else None
    return option(*names, metavar="FILE", group=OUTPUT, check=check, **more)


def number_or_auto(name: str, text: str | None) -> float | str | None:
    """The value of an option that takes a number or "auto". Raises SettingsError."""
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"--{name} {printable(text)}: is neither a number nor auto") from None


def pair(name: str, text: str | None) -> tuple[str, str] | None:
    """Two names from the text of an option, separated by a comma. Raises SettingsError."""
    if text is None:
        return None
    names = [each.strip() for each in text.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise SettingsError(
            f"--{name} {printable(text)}: two different names are needed, as in A,B"
        )
    return names[0], names[1]


# Models
MODEL_HELP = "Model file made by train."
ModelPath = Annotated[
    Path,
    option(
        "--model",
        "-m",
        help=MODEL_HELP,
        metavar="FILE",
        shown="model.npz",
        envvar="CATCLF_MODEL",
        complete=complete_model,
    ),
]
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="[MODEL]",
        help=f"{MODEL_HELP}{DEFAULT}model.npz.",
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
        metavar="N",
        shown="the model's, 0.5 unless chosen",
    ),
]

# Data
SOURCE_HELP = "HDF5 file, folders of images, zip, tar, table or .npz."
SourcePath = Annotated[Path, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)]
Data = Annotated[
    Path | None,
    option(help=SOURCE_HELP, metavar="DATA", shown="drawings", group=DATA),
]
SplitOption = Annotated[
    str | None,
    option(
        help="The split taken of a source that is divided: train, validation or test.",
        choices=("train", "validation", "test"),
        shown="test where there are both",
        group=DATA,
    ),
]
PositiveName = Annotated[
    str | None,
    option(
        help="What the positive class is called in this data.",
        metavar="CLASS",
        shown="as in the model",
        group=DATA,
    ),
]
MAX_PIXELS_HELP = "Refuse larger images before decoding them."
TRUNCATED_HELP = "Read what is there of image files that are cut short."
_rare = partial(option, group=DATA, hidden=True)
READING = {
    "size": Annotated[
        int | None,
        option(
            help="Height and width of the images.",
            low=1,
            high=1024,
            metavar="PIXELS",
            shown="by features",
            group=DATA,
        ),
    ],
    "fit": Annotated[
        str | None,
        option(
            help="How files become square: squash, crop or pad.",
            choices=("squash", "crop", "pad"),
            shown="squash",
            group=DATA,
        ),
    ],
    "positive": Annotated[
        str | None, option(help="The class to find.", metavar="CLASS", shown="cat", group=DATA)
    ],
    "skip_bad": Annotated[
        bool, option("--skip-bad", help="Leave unreadable images out.", group=DATA)
    ],
}
RARELY_READING = {
    "label_from": Annotated[
        str | None,
        _rare(
            help="Where labels of files in folders are: folder, or name (cat.0.jpg is of cat).",
            choices=("folder", "name"),
            shown="folder",
        ),
    ],
    "classes": Annotated[
        str | None,
        _rare(
            help="Names of labels 0 and 1 where the data do not name them.",
            metavar="NAME,NAME",
            shown="non-cat,cat",
        ),
    ],
    "columns": Annotated[
        str | None,
        _rare(
            help="Columns of a table, by name or number.",
            metavar="PATH,LABEL",
            shown="path and label, or the like",
            complete=complete_columns,
        ),
    ],
    "keys": Annotated[
        str | None,
        _rare(
            help="Keys in an HDF5 file or .npz; of samples in a tar, endings or a key of .json: "
            "jpg,label.",
            metavar="IMAGES,LABELS",
            shown="x and y, or the like",
        ),
    ],
    "max_pixels": Annotated[int | None, _rare(help=MAX_PIXELS_HELP, low=1, shown="250 million")],
    "truncated": Annotated[bool, _rare("--truncated", help=TRUNCATED_HELP)],
    "outside": Annotated[bool, _rare("--outside", help="Read files outside a table's folder.")],
    "allow_remote_rows": Annotated[
        bool, _rare("--allow-remote-rows", help="Fetch the URLs in a table.")
    ],
}


def reading_options(*names: str, **others: Any) -> dict[str, Any]:
    """The options of reading data, for ``Annotated[Options, …]``.

    Those are the ones that ``names`` names, ``others`` by their names, and all hidden ones.
    """
    return {name: READING[name] for name in names} | others | RARELY_READING


Labelled = Annotated[
    Options, reading_options(split=SplitOption, positive=PositiveName, skip_bad=READING["skip_bad"])
]
Reading = Annotated[Options, reading_options("size", "fit", "positive", "skip_bad")]
Workers = Annotated[
    int | None,
    option(
        help="Threads; the result is always the same.",
        low=1,
        high=1024,
        metavar="N",
        shown="one a core",
        group=TRAINING,
    ),
]

# Output
JsonOrText = Annotated[
    str,
    option("--format", help="text or json.", choices=("text", "json"), shown="text", group=OUTPUT),
]
Quiet = Annotated[bool, option("--quiet", "-q", help="Print no results.", group=OUTPUT)]
Features = Annotated[str, setting("features")]

# Clusters
ClusterAddress = Annotated[
    str | None,
    option(
        help="Dask's workers: local:N starts N here; catclf help cluster.",
        metavar="ADDRESS",
        group=TRAINING,
    ),
]
Insecure = Annotated[
    bool,
    option(
        "--insecure",
        help="Allow tcp:// to other machines: who reaches a scheduler runs code as you.",
        group=TRAINING,
        hidden=True,
    ),
]
