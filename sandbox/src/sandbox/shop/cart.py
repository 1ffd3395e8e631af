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
    """`key` is the Idempotency-Key under which this very cart is ordered; each change of the cart makes a new one."""

    lines: Mapping[str, int] = field(default_factory=dict)
    currency: str = CURRENCIES[0]
    coupon: str = ""
    email: str = ""
    key: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def pieces(self) -> int:
        return sum(self.lines.values())

    def with_quantity(self, sku: str, quantity: int) -> "Cart":
        """Set how many pieces of `sku` are wanted; none takes the line out."""
        lines = {**self.lines, sku: min(quantity, QUANTITY_MAX)}
        lines = {name: pieces for name, pieces in lines.items() if pieces > 0}
        if len(lines) > LINES_MAX:
            return self
        return self.changed(lines=lines)

    def changed(self, **fields: object) -> "Cart":
        """The cart with other `fields`, to be ordered anew."""
        return replace(self, **fields, key=secrets.token_hex(12))  # type: ignore[arg-type] # names and types of the class

    def sealed(self, secret: bytes) -> str:
        """The cookie's value."""
        content = json.dumps([dict(self.lines), self.currency, self.coupon, self.email, self.key]).encode()
        text = base64.urlsafe_b64encode(content).decode().rstrip("=")
        return f"{text}.{_signature(text, secret)}"


def opened(cookie: str, secret: bytes) -> Cart:
    """The cart in a cookie; an empty one when it was not us who sealed it."""
    text, _, signature = cookie.partition(".")
    if not text or not hmac.compare_digest(signature.encode(), _signature(text, secret).encode()):
        return Cart()
    lines, currency, coupon, email, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return Cart(lines, currency, coupon, email, key)


def _signature(text: str, secret: bytes) -> str:
    return hmac.new(secret, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
