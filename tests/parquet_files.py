"""Parquet files as the library ``datasets`` of Hugging Face writes them, for the tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def features(names: Sequence[str]) -> dict[str, str]:
    """What the library keeps in a file: of integer labels their names."""
    label = {"names": list(names), "_type": "ClassLabel"}
    info = {"features": {"image": {"_type": "Image"}, "label": label}}
    return {"huggingface": json.dumps({"info": info})}


def write(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[Any] | None,
    names: Sequence[str] = (),
    *,
    paths: bool = True,
    group: int = 3,
    **options: Any,
) -> Path:
    """A file with the columns image and label, in row groups of ``group`` rows."""
    rows = [{"bytes": x, "path": f"{i}.png" if paths else None} for i, x in enumerate(images)]
    columns = {"image": pa.array(rows, IMAGE)}
    if labels is not None:
        columns["label"] = pa.array(labels)
    table = pa.table(columns)
    if names:
        table = table.replace_schema_metadata(features(names))
    pq.write_table(table, path, row_group_size=group, **options)
    return path
