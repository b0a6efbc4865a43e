"""The kinds of features by name: learned from images, or restored from a model file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catclf.errors import ModelError, SettingsError
from catclf.features.base import KINDS, Features, Phase, Read, silent

if TYPE_CHECKING:
    from catclf.samples import Images


def learn(
    kind: str,
    images: Images,
    seed: int = 0,
    *,
    flip: bool = True,
    workers: int | None = None,
    phase: Phase | None = None,
) -> Features:
    """Features of a kind, learned from images uint8 (m, size, size, 3) and a seed.

    With ``flip`` an image and its mirror image get the same row, so that a model cannot tell left
    from right: it is what training on the mirror images, too, leads to. ``phase`` shows the
    progress of each part of the learning. Raises SettingsError when the kind is unknown or the
    images are too small for it.
    """
    size, phase = int(images.shape[1]), phase or silent
    if kind == "pixels":
        from catclf.features.pixels import PixelFeatures

        return PixelFeatures(size, flip)
    if kind == "hog":
        from catclf.features.hog import HogFeatures

        return HogFeatures(size, flip)
    if kind == "patches":
        from catclf.features.dictionary import learn_patches
        from catclf.features.patches import Recipe

        recipe = Recipe.for_size(size, flip=flip)
        with phase("learning features") as on_progress:
            return learn_patches(images, recipe, seed, workers=workers, on_progress=on_progress)
    if kind == "stacked":
        from catclf.features.stacked import learn_stacked
        from catclf.features.stacked_recipe import Recipe as StackedRecipe

        stacked = StackedRecipe.for_images(len(images), size, flip=flip)
        return learn_stacked(images, stacked, seed, workers=workers, phase=phase)
    if kind == "network":
        from catclf.features.network.embedding import NetworkFeatures

        return NetworkFeatures.pretrained(size, flip)
    raise SettingsError(f"features {kind!r} are unknown: use one of {', '.join(KINDS)}")


def restore(settings: dict[str, Any], size: int, read: Read) -> Features:
    """The features that a model file describes; ``read`` fetches its arrays, checked.

    Raises ModelError when the settings are not ones that ``learn`` makes.
    """
    kind = settings.get("kind")
    try:
        if kind == "hog":
            from catclf.features.hog import HogFeatures

            return HogFeatures.restore(settings, size)
        if kind == "patches":
            from catclf.features.patches import PatchFeatures

            return PatchFeatures.restore(settings, size, read)
        if kind == "stacked":
            from catclf.features.stacked import StackedFeatures

            return StackedFeatures.restore(settings, size, read)
        if kind == "network":
            from catclf.features.network.embedding import NetworkFeatures

            return NetworkFeatures.restore(settings, size, read)
    except SettingsError as error:
        raise ModelError(f"has features that make no sense: {error}") from error
    raise ModelError("has features that this catclf does not know")
