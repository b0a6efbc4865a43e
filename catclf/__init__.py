"""Train vectorized logistic regression on images and score images with it.

    import catclf

    data = catclf.open_dataset("train_catvnoncat.h5")
    model = catclf.train(data)
    catclf.save(model, "model.npz")

The rooms, in the order in which data pass through them:

    images      a file to pixels, in decoding processes
    datasets    every source to one ``Dataset``: labelled images
    samples, splits   images and labels as all rooms see them; random divisions
    features    images to rows of numbers
    training    what is selected, the objective, its solvers: from a data set to a model
    cluster     the same sums, made by workers on several machines
    model       weights with what they mean, and their file
    evaluation  how good a model is, or many settings by cross-validation
    explain     why one image got its prediction
    sklearn     the same as a classifier of scikit-learn
    report      pages and charts about a model
    export      a model as other programs take it, and as a page to try it
    cli         what people type

``docs`` holds the pages that ``catclf help`` shows.

Below them: ``maths`` holds the formulas, ``storage`` files, ``terminal`` what is drawn on stderr,
and ``machine``, ``settings``, ``text``, ``errors`` and ``version`` the ground.
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
    splits terminal
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
    "compare": "evaluation.public.compare",
    "evaluate": "evaluation.public.evaluate",
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
    from catclf.evaluation.public import compare as compare
    from catclf.evaluation.public import evaluate as evaluate
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
