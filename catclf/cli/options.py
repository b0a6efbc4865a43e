"""Options that several commands share."""

# Without "from __future__ import annotations": the options of SourceOptions are taken as they are.
import inspect
import math
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from catclf.cli.completion import complete_columns, complete_model
from catclf.errors import SettingsError

DATA, FEATURES, TRAINING, OUTPUT = "Data", "Features", "Training", "Output"
CLUSTER = "Cluster"

PartOption = Annotated[
    Literal["train", "test"] | None,
    typer.Option(
        help="The part taken of a source that has parts.",
        show_default="test where there are both",
        rich_help_panel=DATA,
    ),
]
PositiveName = Annotated[
    str | None,
    typer.Option(
        help="What the positive class is called in this data.",
        show_default="as in the model",
        rich_help_panel=DATA,
    ),
]


MODEL_HELP = "Model file made by train."
ModelPath = Annotated[
    Path,
    typer.Option(
        "--model",
        "-m",
        envvar="CATCLF_MODEL",
        help=MODEL_HELP,
        show_default=True,
        autocompletion=complete_model,
    ),
]
ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help=MODEL_HELP, autocompletion=complete_model)
]
SOURCE_HELP = "HDF5 file, class folders, zip or tar of images, table (CSV, Parquet), or .npz."
SourcePath = Annotated[Path, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)]
Data = Annotated[
    Path | None,
    typer.Option(help=SOURCE_HELP, show_default="the bundled data set", rich_help_panel=DATA),
]
Features = Literal["pixels", "hog", "patches", "stacked", "network"]
JsonOrText = Annotated[
    Literal["text", "json"], typer.Option("--format", help="How to print.", rich_help_panel=OUTPUT)
]
Size = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Height and width of the images.",
        show_default="that of stored images; else 64, or if they have more 128 for stacked and "
        "256 for network",
        rich_help_panel=DATA,
    ),
]
FitOption = Annotated[
    Literal["squash", "crop", "pad"] | None,
    typer.Option(
        "--fit",
        help="How image files become square; crop keeps the middle.",
        show_default="squash",
        rich_help_panel=DATA,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave unreadable images out.", rich_help_panel=DATA),
]
Positive = Annotated[
    str | None,
    typer.Option(
        help="The class to find; all others count as negative.",
        show_default="cat",
        rich_help_panel=DATA,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUT),
]


MAX_PIXELS_HELP = "Refuse larger images before decoding them."
TRUNCATED_HELP = "Read what is there of image files that are cut short."


class SourceOptions(NamedTuple):
    """How the sources of a command are to be read, as its options say."""

    label_from: Annotated[
        Literal["folder", "name"],
        typer.Option(
            help="Where labels of files in folders are; name: cat.0.jpg is of cat.",
            rich_help_panel=DATA,
        ),
    ] = "folder"
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Names of labels 0 and 1 where the data do not name them.",
            show_default="non-cat,cat",
            rich_help_panel=DATA,
        ),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="PATH,LABEL",
            help="Columns of a table, by name or number.",
            show_default="path and label, or the like",
            autocompletion=complete_columns,
            rich_help_panel=DATA,
        ),
    ] = None
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGES,LABELS",
            help="Keys in an HDF5 file or .npz; of samples in a tar, endings or a key of .json: "
            "jpg,label.",
            show_default="x and y, or the like",
            rich_help_panel=DATA,
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        typer.Option(min=1, help=MAX_PIXELS_HELP, show_default="250 million", rich_help_panel=DATA),
    ] = None
    truncated: Annotated[
        bool, typer.Option("--truncated", help=TRUNCATED_HELP, rich_help_panel=DATA)
    ] = False

    def pair(self, name: str) -> tuple[str, str] | None:
        """Two names from the text of an option, separated by a comma."""
        text = getattr(self, name)
        if text is None:
            return None
        names = [each.strip() for each in text.split(",")]
        if len(names) != 2 or not all(names) or names[0] == names[1]:
            raise SettingsError(f"--{name} {text}: two different names are needed, as in A,B")
        return names[0], names[1]


SOURCE_OPTIONS: ContextVar[SourceOptions] = ContextVar("source_options", default=SourceOptions())  # noqa: B039  # a tuple


def reads_sources(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of ``SourceOptions``, which are in force while it runs."""
    hints = SourceOptions.__annotations__
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=SourceOptions._field_defaults[name],
            annotation=hints[name],
        )
        for name in SourceOptions._fields
    ]
    own = inspect.signature(command, eval_str=True)

    @wraps(command)
    def with_options(**given: Any) -> None:
        names = [name for name in SourceOptions._fields if name in given]
        chosen = SourceOptions(**{name: given.pop(name) for name in names})
        token = SOURCE_OPTIONS.set(chosen)
        try:
            command(**given)
        finally:
            SOURCE_OPTIONS.reset(token)

    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.parameters.values()
    ]
    with_options.__signature__ = own.replace(parameters=[*parameters, *added])  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in [*parameters, *added]}
    return with_options


def paragraphs(command: Callable[..., None]) -> str:
    """A docstring with its paragraphs as lines: help breaks them where the terminal ends."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def finite(value: float | None) -> float | None:
    """Refuse nan and inf, which pass between any two bounds."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


Threshold = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        callback=finite,
        help="Probability above which the answer is the positive class.",
        show_default="the model's, 0.5 unless chosen",
        rich_help_panel=OUTPUT,
    ),
]
