"""How values are shown to people. All of it is text: templates escape it.

What stands in a message was written by strangers. Characters that nobody sees, or that turn a line around, are shown by
their number.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from operations.decide import amounts
from payments_shared.personal import HIDDEN
from payments_shared.strict_json import MalformedJson, strict_json_loads

SHOWN_MAX: Final = 200_000  # characters of a payload on a page
_PLAIN: Final = frozenset("\n\t")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_STEPS: Final = ((60, "s"), (60, "min"), (24, "h"), (365, "d"))
_ORDINARY: Final = 10_000  # of which commas make no numeral


def visible(value: object) -> str:
    """A text with every hidden character shown by its number."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one in _PLAIN or unicodedata.category(one) not in _HIDDEN else _number(one) for one in text)


def _number(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as text. `note` says what is not as it came."""

    text: str
    note: str | None


def payload(body: bytes) -> Payload:
    """A message's body: JSON in lines, other text as it is, bytes by their numbers."""
    if body == HIDDEN.encode():
        return Payload(HIDDEN, "It is no JSON object, so that nobody can say what of it tells who a buyer is.")
    try:
        text = json.dumps(strict_json_loads(body), indent=2, ensure_ascii=False)
        note = None
    except MalformedJson as error:
        text, note = _as_it_is(body, str(error))
    if len(text) > SHOWN_MAX:
        return Payload(visible(text[:SHOWN_MAX]), f"The first {SHOWN_MAX:,} characters of {len(text):,}.")
    return Payload(visible(text), note)


def _as_it_is(body: bytes, why: str) -> tuple[str, str]:
    try:
        return body.decode(), f"Shown as it came: {why}."
    except UnicodeDecodeError:
        return body[: SHOWN_MAX // 3].hex(" "), "No text: its bytes by their numbers."


def as_json(value: Any) -> str:  # Any: JSON
    """JSON in lines."""
    return visible(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def utc(at: datetime) -> str:
    """A time to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def instant(text: str | None) -> datetime | None:
    """A time as other services tell it."""
    return None if text is None else datetime.fromisoformat(text)


def money(amount_minor: int, currency: str) -> str:
    """An amount with its currency."""
    return visible(amounts.money(amount_minor, currency))


def since(seconds: float) -> str:
    """A span in its largest unit: `3 min`."""
    size, name = max(0.0, seconds), "s"
    for length, following in zip(_STEPS, (*_STEPS[1:], (0, "y")), strict=True):
        if size < length[0]:
            break
        size, name = size / length[0], following[1]
    return f"{int(size)} {name}"


def ago(at: datetime, now: datetime) -> str:
    """How long before now, or until, a time is."""
    seconds = (now - at).total_seconds()
    return f"{since(seconds)} ago" if seconds >= 0 else f"in {since(-seconds)}"


def count(number: int) -> str:
    """A number of things."""
    return str(number) if -_ORDINARY < number < _ORDINARY else f"{number:,}"


def record(service: str, subject: str | None) -> str | None:
    """The page that shows the whole record of what another service was asked for; None where there is none."""
    if service == "webhook-ingest":
        return f"/console/stripe-events/{quote(subject)}" if subject else None
    return f"/console/refunds/{quote(subject or '', safe='')}" if service == "refunds" else "/console/services"


def filter_words(given: Mapping[str, Any]) -> str:  # Any: JSON
    """A bulk's filter in a line."""
    ids = given.get("ids")
    words = [f"{visible(name.replace('_', ' '))} {visible(value)}" for name, value in given.items() if name != "ids"]
    return ", ".join([*words, *([f"{len(ids)} selected"] if ids else [])]) or "everything"
