"""How an image file becomes pixels: what a model file remembers of it."""

from __future__ import annotations

from dataclasses import dataclass

FITS = ("squash", "crop", "pad")


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes pixels. The model file remembers it, and scoring uses nothing else.

    ``size`` pixels high and wide; ``fit``: "squash" ignores the aspect ratio, "crop" cuts the
    middle out, "pad" adds a border of ``background``, which also lies under transparent pixels.
    """

    size: int = 64
    fit: str = "squash"
    resampling: str = "bicubic"
    background: tuple[int, int, int] = (255, 255, 255)

    @property
    def n(self) -> int:
        """Features of one image."""
        return self.size * self.size * 3


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded; ``truncated`` reads what is there of cut files."""

    pixels: int = 100_000_000  # 400 MB while decoding RGBA
    file_bytes: int = 256 * 1024 * 1024
    truncated: bool = False
