"""JSON that every parser reads alike, or none: what one reader takes and the next one refuses must not be stored."""

import json
from typing import Any, Final, NoReturn

import orjson

DEPTH_MAX: Final = 64
INTEGER_MAX: Final = 2**53


class MalformedJson(ValueError):
    """The bytes are not JSON that every parser reads alike."""


def strict_json_loads(raw: bytes) -> Any:  # Any: JSON
    """Parse JSON, refusing what parsers disagree on: duplicate keys, NaN, NUL, lone surrogates, huge integers.

    Raises:
        MalformedJson: any of those, or no JSON at all.
    """
    value = _as_written(raw)
    return _carefully(raw) if value is None else value


def _as_written(raw: bytes) -> Any:  # Any: JSON
    """The value when writing it again gives `raw`, byte for byte, and None when one must look closer.

    What comes back as it was holds no key twice, no number that was rounded and nothing that is not JSON: twice as fast
    as watching every key. Stripe writes the indented form, browsers the dense one.
    """
    try:
        value = orjson.loads(raw)
        written = orjson.dumps(value, option=_INDENTED if raw[1:2] == b"\n" else orjson.OPT_STRICT_INTEGER)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return None if written != raw or b"\\u" in raw else value


def _carefully(raw: bytes) -> Any:  # Any: JSON
    try:
        text = raw.decode()
        value = _DECODER.decode(text)
    except RecursionError:
        raise MalformedJson("nested too deeply") from None
    except MalformedJson:
        raise
    except ValueError as error:
        raise MalformedJson("not JSON in UTF-8") from error
    if "\\u" in text:  # any other way to write such a string is refused by the decoder
        _check_strings(value, 0)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedJson("a key stands twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) < 16:
        return int(digits)
    if len(digits) > 17 or not -INTEGER_MAX <= int(digits) <= INTEGER_MAX:
        raise MalformedJson("an integer beyond 2^53")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise MalformedJson("a number beyond all bounds")
    return value


def _check_strings(value: Any, depth: int) -> None:  # Any: JSON
    if depth > DEPTH_MAX:
        raise MalformedJson("nested too deeply")
    match value:
        case str():
            if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
                raise MalformedJson("a string holds NUL or half a surrogate pair")
        case list():
            for item in value:
                _check_strings(item, depth + 1)
        case dict():
            for key, item in value.items():
                _check_strings(key, depth + 1)
                _check_strings(item, depth + 1)
        case _:
            return


_INDENTED: Final = orjson.OPT_STRICT_INTEGER | orjson.OPT_INDENT_2
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer, parse_float=_number
)
