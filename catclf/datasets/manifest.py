"""The manifest of a packed folder: which shards hold which images, and their SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from catclf.datasets.dataset import MANIFEST, PARTS, Part
from catclf.errors import DataError
from catclf.images.preprocess import FITS, Preprocess
from catclf.storage.files import replacing
from catclf.storage.remote import read, size_of
from catclf.text import printable, reason
from catclf.version import __version__

FORMAT, VERSION = "catclf-packed", 1
SHARD = 65_536  # images: 128 parts of 512, 805 MB of 64x64 pixels
BYTES_MAX = 64 * 1024 * 1024  # of a manifest: 100 000 shards have 30 MB

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Shard:
    """One file: its images, and the rows ``first`` … ``next`` - 1 of the source they came from.

    ``source`` is the hash of these rows as they were listed; ``skipped`` of them were unreadable.
    """

    file: str
    images: int
    bytes: int
    sha256: str
    first: int
    next: int
    source: str
    skipped: int = 0


@dataclass
class PackedPart:
    """The shards of one part, and the fingerprint of its data set where it is known.

    ``fingerprint`` is that of ``Dataset``, for the two classes beside it.
    """

    shards: list[Shard] = field(default_factory=list)
    fingerprint: str = ""
    fingerprint_classes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """The number of images in all shards."""
        return sum(shard.images for shard in self.shards)

    def without(self, files: Collection[str]) -> PackedPart:
        """The part without some shards; its fingerprint is not known then."""
        if not files:
            return self
        return PackedPart([shard for shard in self.shards if shard.file not in files])


@dataclass
class Manifest:
    """All parts of a packed folder; ``complete`` once every image of its source is there."""

    classes: tuple[str, ...]
    preprocess: Preprocess
    parts: dict[Part, PackedPart] = field(default_factory=dict)
    complete: bool = False

    def write(self, folder: Path) -> None:
        """Replace the manifest in a folder, wholly or not at all. Raises OutputError."""
        fields = {"format": FORMAT, "version": VERSION, "catclf": __version__, **asdict(self)}
        with replacing(folder / MANIFEST, kept=False) as file:
            file.write(json.dumps(fields, indent=1).encode() + b"\n")

    def files(self) -> set[str]:
        """The names of all shards."""
        return {shard.file for part in self.parts.values() for shard in part.shards}


def load(folder: Path) -> Manifest:
    """The manifest of a folder, complete or not. Raises DataError for one that is not sound."""
    path = folder / MANIFEST
    shown = printable(path)
    try:
        if size_of(path) > BYTES_MAX:
            raise DataError(f"{shown}: is too large for a manifest of catclf")
        fields = json.loads(read(path))
    except (OSError, ValueError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError) else "is damaged: pack the images again"
        raise DataError(f"{shown}: {why}") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise DataError(f"{shown}: is not a manifest of catclf: pack the images anew")
    if fields.get("version") != VERSION:
        raise DataError(f"{shown}: was made by a newer catclf, which is needed to read it")
    try:
        return _manifest(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{shown}: is damaged: pack the images again") from error


def require_complete(manifest: Manifest, folder: Path) -> None:
    """Raise DataError for a folder whose packing was stopped."""
    if not manifest.complete:
        raise DataError(
            f"{printable(folder)}: packing was stopped before its end: run it again to go on"
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(fields: dict[str, Any]) -> Manifest:
    made = _of(dict, fields["preprocess"])
    background = tuple(_of(int, each) for each in _of(list, made["background"]))
    preprocess = Preprocess(
        _of(int, made["size"]), _of(str, made["fit"]), _of(str, made["resampling"])
    )
    if preprocess.size < 1 or preprocess.fit not in FITS or background != preprocess.background:
        raise ValueError
    parts: dict[Part, PackedPart] = {}
    for name in PARTS:
        if name in _of(dict, fields["parts"]):
            parts[name] = _part(_of(dict, fields["parts"][name]))
    classes = tuple(_of(str, each) for each in _of(list, fields["classes"]))
    return Manifest(classes, preprocess, parts, _of(bool, fields["complete"]))


def _part(fields: dict[str, Any]) -> PackedPart:
    pair = tuple(_of(str, each) for each in _of(list, fields["fingerprint_classes"]))
    return PackedPart(
        [_shard(_of(dict, each)) for each in _of(list, fields["shards"])],
        _of(str, fields["fingerprint"]),
        pair,
    )


def _shard(fields: dict[str, Any]) -> Shard:
    shard = Shard(**fields)
    for name, kind in Shard.__annotations__.items():
        value = getattr(shard, name)
        if type(value).__name__ != kind or (kind == "int" and value < 0):
            raise ValueError
    if shard.file != Path(shard.file).name or shard.file in ("", ".", "..") or not shard.images:
        raise ValueError  # a name is that of a file in this folder
    return shard


def _of(kind: type[Kind], value: Any) -> Kind:
    if type(value) is not kind:
        raise TypeError
    return value
