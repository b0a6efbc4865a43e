"""``catclf train``: read data, train with the cost in sight, evaluate, save."""

# Without "from __future__ import annotations": Typer would take 2 ms to compile them from strings.
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from catclf.cli.cluster import ClusterAddress, Insecure
from catclf.cli.open_data import open_for_training, reading_with_progress, warn_of_idle_fit
from catclf.cli.options import (
    DATA,
    FEATURES,
    OUTPUT,
    TRAINING,
    Data,
    Features,
    FitOption,
    Positive,
    Quiet,
    Size,
    SkipBad,
    reads_sources,
)
from catclf.cli.output_paths import on_disk, require_outputs
from catclf.cli.photographs import encoder_for_training
from catclf.cli.signals import exit_if_stopped
from catclf.cli.stdout import put
from catclf.cli.train.cluster import cluster_address, cluster_at
from catclf.cli.train.config import ConfigFile, PrintConfig, recorded, to_toml
from catclf.cli.train.log import StepLog
from catclf.cli.train.resume import (
    checkpoints_beside,
    number_or_auto,
    part_or_path,
    warn_of_checkpoint,
)
from catclf.cli.train.run import Run
from catclf.cli.train.summary import show_summary

if TYPE_CHECKING:
    from catclf.model import Model
    from catclf.training import Settings, TrainOptions


# Options that are settings of the library under the same names.
SETTINGS = (
    *("iterations", "print_every", "seed", "method", "batch_size", "patience"),
    *("class_weight", "schedule"),
)


@reads_sources
def train(
    ctx: typer.Context,
    config: ConfigFile = None,
    print_config: PrintConfig = False,
    data: Data = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="The same, to evaluate the model with.",
            show_default="the test part of --data, if any",
            rich_help_panel=DATA,
        ),
    ] = None,
    size: Size = None,
    fit: FitOption = None,
    skip_bad: SkipBad = False,
    positive: Positive = None,
    features: Annotated[
        Features,
        typer.Option(
            help="Input features: pixels; hog, histograms of oriented gradients; patches, learned "
            "from the images, or two layers of them, stacked: slower, and far more often right; "
            "for photographs a pretrained network. See catclf help features.",
            rich_help_panel=FEATURES,
        ),
    ] = "pixels",
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Train on mirror images, too.",
            show_default="all but pixels and network",
            rich_help_panel=FEATURES,
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Keep features in this file, for the next run, and read them from there.",
            show_default="in memory",
            rich_help_panel=FEATURES,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            help="Learning rate α.",
            show_default="0.005; 1.9 for other features",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        typer.Option(
            help="How the learning rate falls to 0 over all iterations; for mini-batches.",
            rich_help_panel=TRAINING,
        ),
    ] = "constant",
    iterations: Annotated[
        int,
        typer.Option(
            help="Steps of gradient descent; the limit for other solvers.", rich_help_panel=TRAINING
        ),
    ] = 2000,
    l2: Annotated[
        str | None,
        typer.Option(
            "--l2",
            metavar="NUMBER|auto",
            help="Penalty λ: adds (λ/2m)‖w‖²; auto: by cross-validation.",
            show_default="0; auto for other features",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Probability above which the answer is the positive class; auto: where balanced "
            "accuracy is best, by cross-validation.",
            show_default="0.5",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    class_weight: Annotated[
        Literal["none", "balanced"],
        typer.Option(
            help="balanced: both classes weigh the same, however many images they have.",
            rich_help_panel=TRAINING,
        ),
    ] = "none",
    solver: Annotated[
        Literal["gd", "newton", "lbfgs"] | None,
        typer.Option(
            help="gd (gradient descent); newton: the optimum of a penalised cost in ten steps, up "
            "to a few thousand images; lbfgs: in tens of passes, for many.",
            show_default="gd; with --l2 auto newton; with features newton, above 1000 images lbfgs",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    method: Annotated[
        Literal["auto", "gram", "stream", "fused"],
        typer.Option(
            metavar="auto|gram|stream|fused",  # as it would be made is too wide for 80 columns
            help="How it is computed: same result, other time; gram is for few images, fused "
            "needs Numba.",
            rich_help_panel=TRAINING,
        ),
    ] = "auto",
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read the pixels of HDF5 files anew in each step, so that memory does not grow "
            "with them; without it those above 256 MB are read so.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    batch_size: Annotated[
        int,
        typer.Option(
            help="Images that a step looks at; iterations are then updates. Shuffled by --seed: "
            "all in memory, in blocks and then among 2048 on disk.",
            show_default="all",
            rich_help_panel=TRAINING,
        ),
    ] = 0,
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="PART|PATH",
            help="Part of each class to hold out, as 0.2, or other images: the weights with the "
            "lowest cost on them are kept.",
            show_default="none",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Printed costs without a better one on --validation until training ends.",
            show_default="10",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="For random choices; full-batch training makes none.", rich_help_panel=TRAINING
        ),
    ] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Threads that compute; the result is the same for any number.",
            show_default="one for each core",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    cluster: ClusterAddress = None,
    insecure: Insecure = False,
    checkpoint_every: Annotated[
        int,
        typer.Option(
            min=0,
            help="Steps after which what is needed to go on is kept beside --output.",
            show_default="never",
            rich_help_panel=TRAINING,
        ),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the checkpoint, if there is one, as if never stopped.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Model file to write.", rich_help_panel=OUTPUT)
    ] = Path("model.npz"),
    print_every: Annotated[
        int,
        typer.Option(
            help="Steps between printed costs; other solvers print each.", rich_help_panel=OUTPUT
        ),
    ] = 100,
    log: Annotated[
        Path | None,
        typer.Option(
            help="Write step, cost and seconds as JSON lines here; --resume goes on in it.",
            callback=on_disk,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the cost as SVG here.", rich_help_panel=OUTPUT),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a model on labelled images and save it.

    Without --data it trains on the bundled drawings. The cost goes to stderr, the result to stdout.

    Example: catclf train --data train_catvnoncat.h5 --test test_catvnoncat.h5 -o model.npz
    """
    if print_config:
        put(to_toml(ctx))
        return
    from catclf.training import TrainOptions

    held_out, judged_by = part_or_path(validation, patience)
    chosen = number_or_auto("l2", l2), number_or_auto("threshold", threshold)
    options = TrainOptions(features, flip, *chosen, solver, learning_rate, cache)
    settings = _settings(ctx, options, held_out)
    address = cluster_address(cluster, insecure, options, settings, data)
    data, test = (data, test) if data else _bundled(test)
    sources = [path for path in (data, test, judged_by) if path is not None]
    inputs = [*sources, config] if config else sources
    checkpoints = checkpoints_beside(output, checkpoint_every, resume, settings)
    kept = [checkpoints.path] if checkpoints else []
    require_outputs([output, *kept, cache, log, plot], inputs)
    warn_of_checkpoint(checkpoints)
    with StepLog(log) if log else nullcontext() as step_log:
        warn_of_idle_fit(fit, sources)
        with reading_with_progress(
            size,
            fit,
            skip_bad,
            quiet,
            positive=positive,
            workers=workers,
            stream=stream,
            features=features,
            encoder=encoder_for_training(options, workers),
        ) as reading:
            opened = open_for_training(data, test, judged_by, reading, held_out=held_out)
        with cluster_at(address, workers) as machines:
            run = Run(
                opened, options, settings, checkpoints, workers, quiet, recorded(ctx), machines
            )
            trained, stop = run.to_model(output, step_log)
    _draw(plot, trained.model)
    show_summary(trained, output, quiet)
    exit_if_stopped(stop)


def _bundled(test: Path | None) -> tuple[Path, Path]:
    """The bundled drawings, with their test part unless there is another."""
    from catclf.datasets import bundled

    train, tested = bundled()
    return train, test or tested


def _settings(ctx: typer.Context, options: "TrainOptions", held_out: float) -> "Settings":
    """The settings that options give by their own names, and the fraction that is held out."""
    from catclf.training import Settings

    given = {name: ctx.params[name] for name in SETTINGS if ctx.params[name] is not None}
    return options.first_settings(Settings(validation=held_out, **given))


def _draw(plot: Path | None, model: "Model") -> None:
    if plot is not None:
        from catclf.report.charts import save_cost_curve

        save_cost_curve(plot, model)
