"""A buyer's cart, kept in a signed cookie: what the buyer wants, never what it costs. Pure."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

CURRENCIES: Final = ("usd", "eur", "gbp", "jpy")
QUANTITY_MAX: Final = 99
LINES_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Cart:
    """`nonce` sets this cart apart from another with the same content. `country` is where the buyer is and wants his
    goods, and `way` the code of the way to ship that he chose; both may be empty as long as he has not said. `credit`:
    his store credit pays first; `later`: a saved card that is declined for now is charged again by itself."""

    lines: Mapping[str, int] = field(default_factory=dict)
    currency: str = CURRENCIES[0]
    coupon: str = ""
    email: str = ""
    nonce: str = field(default_factory=lambda: secrets.token_hex(12))
    country: str = ""
    way: str = ""
    credit: bool = False
    later: bool = False

    @property
    def pieces(self) -> int:
        return sum(self.lines.values())

    @property
    def key(self) -> str:
        """The Idempotency-Key of its order: the same for each click on the same content, however fast they come."""
        return hashlib.sha256(self._content().encode()).hexdigest()[:40]

    def with_quantity(self, sku: str, quantity: int) -> "Cart":
        """Set how many pieces of `sku` are wanted; none takes the line out."""
        lines = {**self.lines, sku: min(quantity, QUANTITY_MAX)}
        lines = {name: pieces for name, pieces in lines.items() if pieces > 0}
        return self if len(lines) > LINES_MAX else replace(self, lines=lines)

    def renewed(self) -> "Cart":
        """The same content, to be ordered once more."""
        return replace(self, nonce=secrets.token_hex(12))

    def emptied(self) -> "Cart":
        """Another cart of the same buyer."""
        return Cart(currency=self.currency, country=self.country)

    def sealed(self, secret: bytes) -> str:
        """The cookie's value."""
        text = base64.urlsafe_b64encode(self._content().encode()).decode().rstrip("=")
        return f"{text}.{_signature(text, secret)}"

    def _content(self) -> str:
        content: list[object] = [dict(self.lines), self.currency, self.coupon, self.email, self.nonce]
        return json.dumps([*content, self.country, self.way, self.credit, self.later])


def opened(cookie: str, secret: bytes) -> Cart:
    """The cart in a cookie; an empty one when it was not us who sealed it."""
    text, _, signature = cookie.partition(".")
    if not text or not hmac.compare_digest(signature.encode(), _signature(text, secret).encode()):
        return Cart()
    return Cart(*json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def _signature(text: str, secret: bytes) -> str:
    return hmac.new(secret, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
