"""Labels that are probably wrong, by the scores of models that were trained without the images.

The rule is that of ``catclf.maths.metrics.doubted``. Of 2000 photographs of cats and dogs with 40
labels turned it finds four of five of these, and one of eighty labels that it names is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.maths import Floats
from catclf.maths.metrics import doubted
from catclf.text import printable


@dataclass(frozen=True)
class Suspect:
    """An image whose label is doubted.

    ``index`` is its row, ``name`` its file name or None; ``probability`` is that of the class
    ``other`` than ``label``. ``sure`` is False for images that the models have wrong, but not
    confidently so.
    """

    index: int
    name: str | None
    label: str
    other: str
    probability: float
    sure: bool = True

    @property
    def display_name(self) -> str:
        """The name, or the row number, on one line."""
        return printable(self.name) if self.name is not None else f"image {self.index}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def suspects(
    Z: Floats,
    Y: Floats,
    classes: tuple[str, str],
    names: Sequence[str] | None = None,
    rows: NDArray[np.intp] | None = None,
) -> list[Suspect]:
    """The doubted labels of images with scores out of fold Z (1, k), the most doubted first.

    Y (1, k) are their labels, ``rows`` (k,) their places in the data set, whose images have
    ``names`` (m,).
    """
    found = []
    for i, probability, sure in zip(*(each.tolist() for each in doubted(Z, Y)), strict=True):
        row, label = i if rows is None else int(rows[i]), int(Y[0, i] > 0.5)
        name = names[row] if names is not None else None
        found.append(Suspect(row, name, classes[label], classes[1 - label], probability, sure))
    return found


def remembered(facts: dict[str, Any]) -> list[Suspect]:
    """The suspects that a model file names, as far as they are sound."""
    found, listed = [], facts.get("first")
    for each in listed if isinstance(listed, list) else []:
        match each:
            case [int(index), None | str() as name, str(label), str(other), float(probability)]:
                found.append(Suspect(index, name, label, other, probability))
    return found
