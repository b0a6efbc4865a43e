"""Which features suit the images, where "auto" leaves it open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from catclf.datasets import ReadOptions, open_source
from catclf.datasets.listing import SMALL
from catclf.errors import SettingsError
from catclf.features import class_of


def choose_features(source: Path, options: ReadOptions) -> tuple[str, str]:
    """The kind of features that suits the images of a source, and why. Raises DataError."""
    large = class_of("network").default_size
    found = open_source(source, replace(options, default_size=large))
    return features_for(found.split("train").preprocess.size)


def features_for(side: int) -> tuple[str, str]:
    """The kind of features that suits images with ``side`` pixels a side, and why.

    The network for photographs where its weights are installed, else patches.
    """
    from catclf.features.network.pretrained import checkpoint_path

    if side <= SMALL:
        return "patches", f"the images have {side} pixels a side; network is for larger ones"
    try:
        checkpoint_path()
    except SettingsError as error:
        return "patches", f"network is better for photographs, but {error}"
    return "network", f"the images have more than {SMALL} pixels a side"
