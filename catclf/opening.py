"""Labelled pictures opened as a model sees pictures: its size, its fit, its positive class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from catclf.datasets import Dataset, Part, Reading, open_source
from catclf.datasets.sources import FileSource, to_dataset
from catclf.errors import DataError
from catclf.model import Model
from catclf.text import printable


def open_for(model: Model, path: Path, part: Part, reading: Reading | None = None) -> Dataset:
    """One part of a source, with the preprocessing that the model remembers.

    The positive class is ``reading.positive`` where that is given, because it is called something
    else there, and the model's otherwise; size and fit of ``reading`` are not used. A note tells
    of negatives that have another name than in training. Raises DataError.
    """
    negative, positive = model.classes
    reading = reading or Reading()
    preprocess = model.preprocess
    same = replace(
        reading,
        positive=reading.positive or positive,
        size=preprocess.size,
        fit=preprocess.fit,
    )
    source = open_source(path, part, same)
    if isinstance(source, FileSource):
        source.preprocess = preprocess
    data = to_dataset(source, same)
    if not data.m:
        raise DataError(f"{printable(path)}: holds no pictures")
    if source.classes and data.classes[0] != negative:
        note = (
            f"{printable(path)}: negatives are {printable(data.classes[0])} here and were "
            f"{printable(negative)} in training"
        )
        data = replace(data, notes=(*data.notes, note))
    return data
