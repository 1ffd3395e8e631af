"""Where Stripe's page sends a buyer back to: a path on the shop's own site, or a URL at an origin that is listed. Pure.

An address is taken only as it is written here, and never repaired: browsers repair in ways of their own, and a page
that looks like the shop's is what a thief wants.
"""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from payments_shared.errors import FieldError, Refused

URL_MAX: Final = 500

_REST: Final = r"/[A-Za-z0-9._~/-]*(\?[A-Za-z0-9._~=&%-]*)?"
_PATH: Final = re.compile(_REST, re.ASCII)
# No user, no fragment, no backslash, no upper case in what names the place, and nothing but ASCII.
_URL: Final = re.compile(
    r"(?P<origin>https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?)(?P<rest>" + _REST + r")?",
    re.ASCII,
)
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def is_path(text: str) -> bool:
    """Whether `text` is a path on a site, and cannot lead away from it."""
    return len(text) <= URL_MAX and _PATH.fullmatch(text) is not None and "//" not in text


def origin_of(text: str) -> str | None:
    """The origin of a whole URL as it is written; None for what is none, or is written in another way."""
    match = _URL.fullmatch(text)
    if match is None or len(text) > URL_MAX or "//" in (match["rest"] or ""):
        return None
    return match["origin"]


def check(text: str, allowed: Collection[str], *, pointer: str) -> str:
    """`text`, to which a buyer may be sent. `allowed` are origins.

    Raises:
        Refused: 422 `return_url_not_allowed`.
    """
    if is_path(text) or origin_of(text) in allowed:
        return text
    detail = "Buyers are sent back to the shop's own site, or to an origin that it lists."
    raise Refused(
        "return_url_not_allowed", detail, status=422, errors=[FieldError(pointer, detail, "return_url_not_allowed")]
    )


def is_safe(origin: str) -> bool:
    """Whether an origin may be listed: nobody on the way can read or change what is sent there."""
    place = urlsplit(origin)
    return place.scheme == "https" or place.hostname in _LOOPBACK
