"""JSON that is Unicode whatever files and classes are called."""

from __future__ import annotations

import json
from collections.abc import Mapping

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
        key = name if _is_unicode(name) else printable(name)
        converted[key] = _unicode(value)
        values = value if isinstance(value, list | tuple) else [value]
        texts = [each for each in values if isinstance(each, str)]
        if len(texts) == len(values) and not all(map(_is_unicode, texts)):
            encoded = [_base64(text) for text in texts]
            converted[f"{key}_base64"] = encoded if values is value else encoded[0]
    return converted


def _unicode(value: object) -> object:
    if isinstance(value, str):
        return value if _is_unicode(value) else _bytes(value).decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return unicode_fields(value)
    if isinstance(value, list | tuple):
        return [_unicode(each) for each in value]
    return value


def _is_unicode(text: str) -> bool:
    """True if every byte of the name that this text was made from is decoded."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _base64(text: str) -> str:
    from base64 import b64encode

    return b64encode(_bytes(text)).decode("ascii")


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair of surrogates, which no name can hold
        return text.encode("utf-8", "surrogatepass")
