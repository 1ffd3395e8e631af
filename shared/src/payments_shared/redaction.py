"""What lets whoever reads it act, taken out of what is shown: keys, tokens, logins, and the client secrets with which
a browser acts upon an object of Stripe's."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from payments_shared.strict_json import MalformedJson, strict_json_loads

REDACTED: Final = "[redacted]"
SECRETS: Final = r"""
      \b(?:sk|rk|pk)_(?:org_)?(?:live|test)_[A-Za-z0-9]+
    | \bwhsec_[A-Za-z0-9+/=]+
    | \b[Bb]earer\s+[A-Za-z0-9._~+/=-]+
    | \b[Aa]uthorization\W{1,5}[Bb]asic\s+[A-Za-z0-9+/=]+
    | (?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+  # a JWT without the word before it
    | -----BEGIN\ [A-Z\ ]*PRIVATE\ KEY-----(?:(?!-----BEGIN)[\s\S])*?-----END\ [A-Z\ ]*PRIVATE\ KEY-----
    | \b(?:cs|pi|seti)_[A-Za-z0-9_]+_secret_[A-Za-z0-9]+
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)                       # user:password of a URL
"""
"""For `re.VERBOSE`: what is secret by its form, whatever it is called."""
NAMES: Final = frozenset(
    {
        "access_token", "authorization", "client_secret", "cookie", "id_token", "order_token", "password",
        "proxy_authorization", "refresh_token", "secret", "set_cookie", "token",
    }
)  # fmt: skip
"""Members that are secret whatever they hold."""

_SECRETS: Final = re.compile(SECRETS, re.VERBOSE | re.ASCII)
# In a URL, or in words.
_QUERIES: Final = re.compile(r"((?:[?&]|\b)(?:\w+_)?(?:secret|token|password)=)[^&#\s\"'\\,;)]+", re.ASCII)


def quoted_members(names: Iterable[str]) -> "re.Pattern[str]":
    """What finds members of these names in a text: as JSON, as Python shows a value, and both within another text. One
    that was cut off ends with the text. `without_value` takes out what it finds."""
    return re.compile(
        rf"""(?aix) \b(?P<name>{"|".join(sorted(names))}) (?P<between>\\*["']?\s*[:=]\s*)
        (?P<quote>\\*["']) (?:(?!(?P=quote))(?:\\[\s\S]|[\s\S]))* (?P<end>(?P=quote)|\Z)"""
    )


def without_value(match: "re.Match[str]", word: str) -> str:
    """The member with `word` in place of its value."""
    return "".join((match["name"], match["between"], match["quote"], word, match["end"]))


_MEMBERS: Final = quoted_members(NAMES)

# What pydantic and PostgreSQL say of a value that they refuse, over as many lines as it has, and perhaps cut off.
_REFUSED: Final = re.compile(
    r"""(?x)
      (?<=input_value=) (?:(?!input_value=)[\s\S])*? (?=,\ input_type=|\Z)
    | (?<=Failing\ row\ contains\ \() (?:(?!Failing\ row)[\s\S])*? (?=\)\.(?:\n|\Z)|\Z)
    | (?<=\)=\() [\s\S]{0,500}? (?=\)\ (?:already|conflicts|is\ not|is\ still)|\Z)
    """
)


def redacted(value: Any) -> Any:  # Any: JSON, with bytes and column values in it
    """A value without secrets. What holds none is returned as it is."""
    match value:
        case str():
            return redacted_text(value)
        case bytes():
            return redacted_body(value)
        case Mapping():
            return {
                redacted_text(name) if isinstance(name, str) else name: _member(name, inner)
                for name, inner in value.items()
            }
        case list() | tuple():
            return [redacted(item) for item in value]
        case _:
            return value


def redacted_text(text: str) -> str:
    """A text without secrets, whatever it is: an exception's words, or JSON that nobody can read."""
    if '"' in text or "'" in text:
        text = _MEMBERS.sub(_redacted_member, text)
    if "=" in text:
        text = _QUERIES.sub(rf"\1{REDACTED}", text)
    return _SECRETS.sub(REDACTED, text)


def without_refused(text: str, mark: str) -> str:
    """The words of an exception with `mark` in place of the value that was refused."""
    if "=" in text or "row contains" in text:  # hardly any has one, and every line of a log comes by here
        return _REFUSED.sub(mark, text)
    return text


def redacted_body(body: bytes) -> bytes:
    """A message's body without secrets. Of JSON the rest means the same; of anything else it is what it was, byte for
    byte."""
    try:
        value = strict_json_loads(body)
        shown = redacted(value)
    except (MalformedJson, RecursionError):
        return redacted_text(body.decode("latin-1")).encode("latin-1")
    return body if shown == value else json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode()


def _member(name: object, value: Any) -> Any:  # Any: JSON
    hides = isinstance(value, str | bytes | list | tuple | Mapping) and value
    if hides and _plain(name) in NAMES:
        return REDACTED
    return redacted(value)


def _plain(name: object) -> str:
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    return text.lower().replace("-", "_")


def _redacted_member(match: "re.Match[str]") -> str:
    return without_value(match, REDACTED)
