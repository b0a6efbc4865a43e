"""JSON that is Unicode whatever files and classes are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from catclf.text import printable


def json_line(fields: Mapping[str, object]) -> str:
    """Strict JSON in ASCII, as one line.

    Names are bytes to the system, and a JSON text holds nothing but Unicode. So a text that is not
    UTF-8 is written with U+FFFD in the place of each odd byte, and its exact bytes are in
    ``…_base64`` beside it; where texts are a list, those of all are. Keys have odd bytes as
    escapes, for two keys must not become one.
    """
    return json.dumps(unicode_fields(fields), allow_nan=False) + "\n"


def unicode_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """These fields with every text in Unicode, at any depth."""
    converted: dict[str, object] = {}
    for name, value in fields.items():
        key = name if is_unicode(name) else printable(name)
        if isinstance(value, str):
            converted |= text_fields(key, value)
            continue
        converted[key] = _unicode(value)
        texts = _texts(value)
        if not all(map(is_unicode, texts)):
            converted[f"{key}_base64"] = [_base64(text) for text in texts]
    return converted


def text_fields(key: str, text: str) -> dict[str, object]:
    """A text that may have come from a name, with its bytes where they are not UTF-8."""
    if is_unicode(text):
        return {key: text}
    return {key: _readable(text), f"{key}_base64": _base64(text)}


def is_unicode(text: str) -> bool:
    """True if every byte of the name that this text was made from is decoded."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _unicode(value: Any) -> object:
    if isinstance(value, str):
        return value if is_unicode(value) else _readable(value)
    if isinstance(value, Mapping):
        return unicode_fields(value)
    if isinstance(value, list | tuple):
        return [_unicode(each) for each in value]
    return value


def _texts(value: object) -> list[str]:
    """The texts in a list of nothing else."""
    values = value if isinstance(value, list | tuple) else []
    texts = [each for each in values if isinstance(each, str)]
    return texts if len(texts) == len(values) else []


def _readable(text: str) -> str:
    return _bytes(text).decode("utf-8", "replace")


def _base64(text: str) -> str:
    from base64 import b64encode

    return b64encode(_bytes(text)).decode("ascii")


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair of surrogates, which no name can hold
        return text.encode("utf-8", "surrogatepass")
