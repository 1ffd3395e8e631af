"""Where a signed-in customer has his parcels sent, kept in a signed cookie. Pure."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from sandbox.shop.catalogue import COUNTRIES

WORDS_MAX: Final = 200
POSTAL_CODE: Final = re.compile(r"[A-Za-z0-9 -]{1,12}", re.ASCII)
MISSING: Final[Mapping[str, str]] = {
    "name": "Please say who gets it.",
    "line1": "Please give street and number.",
    "city": "Please give the town.",
    "postal_code": "Please give the postal code, in letters and digits.",
    "country": "Please choose a country from the list.",
}


@dataclass(frozen=True, slots=True)
class Address:
    """The fields of the platform's `shipping`."""

    name: str
    line1: str
    city: str
    postal_code: str
    country: str

    @property
    def shown(self) -> str:
        """On one line."""
        return f"{self.name}, {self.line1}, {self.postal_code} {self.city}, {COUNTRIES[self.country]}"

    def sealed(self, subject: str, secret: bytes) -> str:
        """The cookie's value, for the customer `subject` alone."""
        text = base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")
        return f"{text}.{_signature(text, subject, secret)}"


def opened(cookie: str, subject: str, secret: bytes) -> Address | None:
    """The address in a cookie; none when it was not us who sealed it, or for somebody else."""
    text, _, signature = cookie.partition(".")
    if not text or not hmac.compare_digest(signature.encode(), _signature(text, subject, secret).encode()):
        return None
    return Address(**json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def typed(form: Mapping[str, str]) -> Address | dict[str, str]:
    """The address in a form, or what is wrong with its fields."""
    given = {name: " ".join(form.get(name, "").split())[:WORDS_MAX] for name in MISSING}
    wrong = {name: words for name, words in MISSING.items() if not given[name]}
    if not POSTAL_CODE.fullmatch(given["postal_code"]):
        wrong["postal_code"] = MISSING["postal_code"]
    if given["country"] not in COUNTRIES:
        wrong["country"] = MISSING["country"]
    return wrong or Address(**given)


def _signature(text: str, subject: str, secret: bytes) -> str:
    return hmac.new(secret, f"address {subject} {text}".encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
