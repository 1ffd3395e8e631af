"""Who is signed in, kept in a signed cookie. This shop asks for no password: nothing here is worth one. Pure."""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Final

EMAIL_MAX: Final = 254
EMAIL: Final = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Person:
    """A signed-in customer; the same address is the same customer."""

    email: str

    @property
    def subject(self) -> str:
        """How the platform knows him."""
        return "shop-" + hashlib.sha256(self.email.lower().encode()).hexdigest()[:24]

    def sealed(self, secret: bytes) -> str:
        """The cookie's value."""
        text = base64.urlsafe_b64encode(self.email.encode()).decode().rstrip("=")
        return f"{text}.{_signature(text, secret)}"


def signed_in(cookie: str, secret: bytes) -> Person | None:
    """The person of a cookie; nobody when it was not us who sealed it."""
    text, _, signature = cookie.partition(".")
    if not text or not hmac.compare_digest(signature.encode(), _signature(text, secret).encode()):
        return None
    return Person(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())


def named(method: dict[str, Any]) -> str:  # Any: the platform's JSON
    """What a saved method is called on a button."""
    kind = method["brand"] or str(method["type"]).replace("_", " ")
    return f"{str(kind).capitalize()} •••• {method['last4']}"


def _signature(text: str, secret: bytes) -> str:
    return hmac.new(secret, ("person " + text).encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
