"""Train vectorized logistic regression on images and score images with it.

    import catclf

    data = catclf.open_dataset("train_catvnoncat.h5")
    model = catclf.train(data)
    catclf.save(model, "model.npz")

An image passes through seven concepts, in this order:

    Settings    how to train: each setting once, for options, files and keywords (``settings``)
    Listing     what a source holds, found once: item, label, split, name (``datasets``)
    Digests     which images are equal or nearly so, and the fingerprint of all (``datasets``)
    Rows        numbers that are read when they are sliced, for pixels and features (``samples``)
    Features    images to rows of numbers: a class for each kind (``features``)
    Objective   the loss and its gradient as sums over rows, made by threads here or by Dask's
                workers elsewhere, to the same bits (``training``, ``cluster``)
    Records     one for each image, in every format, written whole (``cli.records``)

and through these rooms:

    cli         what people type: it reads the options and calls the rooms below
    storage     where files are, on disk or in a store, and how they are written whole
    images      a file to pixels, in decoding processes
    datasets    every source to one ``Dataset``: labelled images
    samples     images and labels as all rooms see them; random divisions
    features    images to rows of numbers
    training    from a data set and settings to a model: objective and solvers
    cluster     the same sums, made by workers on several machines
    model       weights with what they mean, and their file
    evaluation  how good a model is, or many settings by cross-validation
    explain     why one image got its prediction
    report, export   pages about a model; a model for other programs
    sklearn     the same as a classifier of scikit-learn

Below them are ``maths``, the formulas; ``terminal``, what is drawn on stderr; and the ground,
``machine``, ``text``, ``errors`` and ``version``. ``docs`` are the pages of ``catclf help``. What
happens between ``catclf train photos`` and the model file is told by five files: ``cli/train.py``,
``datasets/open.py``, ``datasets/listing.py``, ``training/pipeline.py`` and ``training/run.py``.

Imports point downwards, from the command line to the ground, and never back or to the side:

    cli
    export
    report sklearn
    evaluation explain
    cluster
    training
    datasets model
    features
    images
    terminal
    samples
    maths storage
    machine settings
    text
    errors version

Names are loaded when they are used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from catclf.version import __version__

_HOMES = {
    "CatclfError": "errors.CatclfError",
    "Model": "model.Model",
    "ReadOptions": "datasets.ReadOptions",
    "Settings": "settings.Settings",
    "compare": "evaluation.compare.compare",
    "evaluate": "evaluation.evaluate.evaluate",
    "load": "model.file.load",
    "open_dataset": "datasets.open_dataset",
    "predict": "model.predict.predict",
    "read_image": "images.decode.read",
    "save": "model.file.save",
    "train": "training.train",
}
__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:
    from catclf.datasets import ReadOptions as ReadOptions
    from catclf.datasets import open_dataset as open_dataset
    from catclf.errors import CatclfError as CatclfError
    from catclf.evaluation.compare import compare as compare
    from catclf.evaluation.evaluate import evaluate as evaluate
    from catclf.images import decode
    from catclf.model import Model as Model
    from catclf.model.file import load as load
    from catclf.model.file import save as save
    from catclf.model.predict import predict as predict
    from catclf.settings import Settings as Settings
    from catclf.training import train as train

    read_image = decode.read


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        room, _, attribute = _HOMES[name].rpartition(".")
        return getattr(import_module(f"catclf.{room}"), attribute)
    raise AttributeError(f"module 'catclf' has no attribute {name!r}")
