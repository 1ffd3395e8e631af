"""Saved payment methods, from the shop's front door to Stripe and back."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.support.people import CARD, Person
from tests.support.shopping import Json, Shopper, eventually

MASTERCARD, DECLINED = "5555555555554444", "4000000000000002"
MISSING = "/api/payments/methods/pm_none"


@pytest_asyncio.fixture(loop_scope="session")
async def ada(shopper: Shopper) -> AsyncIterator[Person]:
    yield Person(shopper, "ada-" + secrets.token_hex(4))


@pytest_asyncio.fixture(loop_scope="session")
async def bob(shopper: Shopper) -> AsyncIterator[Person]:
    yield Person(shopper, "bob-" + secrets.token_hex(4))


async def customers_of(person: Person) -> list[Json]:
    """All customers at Stripe that were made for him."""
    listed = await person.shopper.stripe("GET", f"/v1/customers?limit=100&email={person.subject}@example.com")
    return list(listed["data"])


async def events_about(shopper: Shopper, method_id: str, type_: str) -> list[Json]:
    """Stripe's events of a type about a method."""
    listed = await shopper.stripe("GET", f"/v1/events?type={type_}&limit=100")
    return [event for event in listed["data"] if event["data"]["object"]["id"] == method_id]


async def test_a_card_saved_on_stripes_page_is_shown_masked(ada: Person) -> None:
    nothing = await ada.methods()

    method = await ada.saves(CARD, expiry="7 / 31")

    assert nothing == []
    assert {name: method[name] for name in method if name not in ("id", "added_at")} == {
        "type": "card", "brand": "visa", "last4": "4242", "exp_month": 7, "exp_year": 2031, "bank_name": None,
        "wallet": None, "label": None, "default": True, "recommended": True, "expired": False, "expires_soon": False,
    }  # fmt: skip
    text = json.dumps((await ada.call("GET")).body)
    assert CARD not in text
    assert not re.search(r'"(fp_\w+|[^"]*fingerprint[^"]*)"', text)
    assert (await ada.call("GET")).headers["Cache-Control"] == "private, no-cache"


async def test_nothing_that_is_stored_tells_a_number_or_a_fingerprint(ada: Person) -> None:
    method = await ada.saves()

    row = await ada.shopper.owner.fetchrow("SELECT * FROM checkout.payment_methods WHERE id = $1", method["id"])

    fingerprint = (await ada.shopper.stripe("GET", f"/v1/payment_methods/{method['id']}"))["card"]["fingerprint"]
    assert row is not None
    assert not [value for value in row.values() if isinstance(value, str) and (CARD in value or fingerprint in value)]


async def test_a_bank_account_is_saved_like_a_card(ada: Person) -> None:
    method = await ada.saves("DE89370400440532013000", method="sepa_debit")

    assert (method["type"], method["last4"], method["exp_year"]) == ("sepa_debit", "3000", None)


async def test_a_declined_card_is_not_saved(ada: Person) -> None:
    page = (await ada.add()).body["url"]

    assert await ada.fill(page, DECLINED) == 402
    assert await ada.methods() == []
    assert await ada.fill(page) == 303
    await ada.has(1)


async def test_stripes_page_leads_back_to_the_shops_own_paths(ada: Person) -> None:
    answer = await ada.add(currency="eur", success_path="/me?saved=yes", cancel_path="/me")

    session = await ada.shopper.stripe("GET", f"/v1/checkout/sessions/{answer.body['url'].rpartition('/')[2]}")

    origin = str(session["success_url"]).removesuffix("/me?saved=yes")
    assert session["cancel_url"] == f"{origin}/me"
    assert (session["mode"], session["currency"], session["customer"]) == ("setup", "eur", await ada.stripe_customer())


async def test_a_form_of_the_shops_own_saves_with_a_secret(ada: Person) -> None:
    answer = await ada.add(using="form")

    assert (answer.status, list(answer.body)) == (201, ["client_secret"])
    intent = answer.body["client_secret"].partition("_secret_")[0]
    shown = await ada.shopper.stripe("GET", f"/v1/setup_intents/{intent}")
    assert shown["customer"] == await ada.stripe_customer()
    await ada.shopper.stripe("POST", f"/v1/setup_intents/{intent}/confirm")
    await ada.has(1)


@pytest.mark.parametrize("using", ["page", "form"])
async def test_a_repeat_under_a_key_is_answered_as_before(ada: Person, using: str) -> None:
    key = secrets.token_hex(12)

    first, again = await ada.add(key, using=using), await ada.add(key, using=using)
    other = await ada.add(key, using=using, currency="eur")

    assert (first.status, again.status, first.body) == (201, 201, again.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status, other.body["code"]) == (422, "idempotency_mismatch")


async def test_concurrent_first_requests_make_one_customer(ada: Person) -> None:
    answers = await asyncio.gather(*(ada.add() for _ in range(12)))

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["url"] for answer in answers}) == 12
    assert [one["id"] for one in await customers_of(ada)] == [await ada.stripe_customer()]


@pytest.mark.parametrize("kind", ["cut_after", "error_500"])
async def test_a_lost_answer_makes_no_second_customer(ada: Person, kind: str) -> None:
    fault = {"kind": kind, "path": "/v1/customers", "count": 2}
    key = secrets.token_hex(12)
    await ada.shopper.stripe("POST", "/_sim/faults", fault)

    lost = await ada.add(key)
    await ada.shopper.stripe("DELETE", "/_sim/faults")
    again = await ada.add(key)

    assert (lost.status, lost.body["code"]) == (503, "stripe_unavailable")
    assert again.status == 201, again
    assert [one["id"] for one in await customers_of(ada)] == [await ada.stripe_customer()]


async def test_an_address_that_stripe_refuses_keeps_nobody_from_saving(ada: Person) -> None:
    token = ada.shopper.deployment.keys.token(ada.subject, "customer", email="ada@example.c")
    url = f"{ada.shopper.deployment.front_door_url}/api/payments/methods"
    answers = [
        await ada.shopper.call(
            "POST", url, {}, Authorization=f"Bearer {token}", **{"Idempotency-Key": secrets.token_hex(12)}
        )
        for _ in range(2)
    ]

    assert [answer.status for answer in answers] == [502, 201]
    customer = await ada.shopper.stripe("GET", f"/v1/customers/{await ada.stripe_customer()}")
    assert customer["email"] is None


async def test_mails_go_to_the_address_that_the_newest_token_names(ada: Person) -> None:
    """The first token named none, and a token without one later takes none away."""
    url = f"{ada.shopper.deployment.front_door_url}/api/payments"

    async def written_to(email: str | None) -> str | None:
        token = ada.shopper.deployment.keys.token(ada.subject, "customer", email=email)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(12)}
        answer = await ada.shopper.call("POST", f"{url}/methods", {}, **headers)
        assert answer.status == 201, answer
        sql = "SELECT email FROM checkout.customers WHERE subject = $1"
        found: str | None = await ada.shopper.owner.fetchval(sql, ada.subject)
        return found

    seen = [await written_to(email) for email in (None, "old@example.com", "new@example.com", None)]

    assert seen == [None, "old@example.com", "new@example.com", "new@example.com"]
    await ada.saves()
    bought = await ada.buys(await ada.shopper.offer(stock=5))
    sql = "SELECT email FROM checkout.customers WHERE subject = $1"
    assert (bought.status, await ada.shopper.owner.fetchval(sql, ada.subject)) == (201, f"{ada.subject}@example.com")
    customer = f"/v1/customers/{await ada.stripe_customer()}"

    async def told() -> bool:
        return bool((await ada.shopper.stripe("GET", customer))["email"] == f"{ada.subject}@example.com")

    await eventually(told, what="Stripe writes to the same address")


async def asked_at(person: Person) -> datetime | None:
    """When Stripe was first asked for his customer, by the clock of business."""
    sql = "SELECT asked_at FROM checkout.customers WHERE subject = $1"
    found: datetime | None = await person.shopper.owner.fetchval(sql, person.subject)
    return found


async def test_a_customer_whose_key_stripe_may_have_forgotten_is_looked_for_first(ada: Person) -> None:
    await ada.add()
    made, asked = await ada.stripe_customer(), await asked_at(ada)
    await ada.shopper.owner.execute(
        "UPDATE checkout.customers SET stripe_customer_id = NULL WHERE subject = $1", ada.subject
    )
    await ada.shopper.advance(25 * 3600)

    assert (await ada.add()).status == 201
    assert await ada.stripe_customer() == made
    assert await asked_at(ada) == asked, "he was found: nobody was asked to make another"


async def test_who_was_never_made_is_asked_for_anew_and_looked_for_from_then_on(ada: Person) -> None:
    """The time of the first request stayed for ever: each later search went through all customers since."""
    await ada.add()
    asked = await asked_at(ada)
    assert asked is not None
    await ada.shopper.owner.execute(
        "UPDATE checkout.customers SET stripe_customer_id = NULL, stripe_attempt = 7, "
        "asked_at = asked_at - interval '40 days' WHERE subject = $1",
        ada.subject,
    )

    assert (await ada.add()).status == 201
    renewed = await asked_at(ada)
    assert renewed is not None
    assert renewed >= asked


async def test_the_method_that_was_charged_last_with_success_is_recommended(ada: Person) -> None:
    first = await ada.saves()
    await ada.shopper.advance(2)  # Stripe tells in whole seconds when each was made
    second = await ada.saves(MASTERCARD)
    assert [first["recommended"], second["recommended"]] == [True, False], "the default"

    bought = await ada.buys(await ada.shopper.offer(), method_id=second["id"])
    assert (bought.status, bought.body["status"]) == (201, "paid")

    asked = await ada.call("GET", "?currency=eur")
    odd = await ada.call("GET", "?currency=tulips")
    assert [one["id"] for one in asked.body["methods"] if one["recommended"]] == [second["id"]]
    assert (odd.status, odd.body["code"]) == (422, "validation_failed")


async def test_the_default_is_the_first_until_another_is_chosen(ada: Person) -> None:
    first = await ada.saves()
    await ada.shopper.advance(2)  # Stripe tells in whole seconds when each was made
    second = await ada.saves(MASTERCARD)

    chosen = await ada.call("POST", f"/{second['id']}/default")
    after = {method["id"]: method["default"] for method in await ada.methods()}
    removed = await ada.call("DELETE", f"/{second['id']}")
    left = await ada.methods()

    assert (first["default"], second["default"], second["brand"]) == (True, False, "mastercard")
    assert (chosen.status, chosen.body) == (200, {**second, "default": True, "recommended": True})
    assert after == {first["id"]: False, second["id"]: True}
    assert removed.status == 204
    assert [(method["id"], method["default"]) for method in left] == [(first["id"], True)]


async def test_a_label_is_kept_when_the_bank_renews_the_card(ada: Person) -> None:
    method = await ada.saves()

    labelled = await ada.call("PATCH", f"/{method['id']}", {"label": "For the household"})
    await ada.shopper.stripe("POST", f"/_sim/payment_methods/{method['id']}/renew", {"exp_year": 2039})

    async def renewed() -> bool:
        return [m["exp_year"] for m in await ada.methods()] == [2039]

    await eventually(renewed, what="the renewed card")
    assert (labelled.status, labelled.body["label"]) == (200, "For the household")
    assert [m["label"] for m in await ada.methods()] == ["For the household"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"label": ""}, "/label"), ({"label": " "}, "/label"), ({"label": "x" * 61}, "/label"), ({}, "/label"),
        ({"label": None}, "/label"), ({"label": "a\tb"}, "/label"), ({"label": "x", "default": True}, "/default"),
    ],
)  # fmt: skip
async def test_an_odd_label_is_refused_by_name(ada: Person, body: Json, pointer: str) -> None:
    answer = await ada.call("PATCH", "/pm_none", body)

    assert answer.status == 422, answer
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]


ODD_ADDITIONS: Mapping[str, Json] = {
    "/using": {"using": "telephone"},
    "/currency": {"currency": "xxx"},
    "/success_path": {"success_path": "https://evil.example/"},
    "/cancel_path": {"cancel_path": "//evil.example"},
    "/customer": {"customer": "cus_1"},
}


@pytest.mark.parametrize("pointer", ODD_ADDITIONS)
async def test_an_odd_wish_is_refused_by_name_and_makes_no_customer(ada: Person, pointer: str) -> None:
    answer = await ada.add(**ODD_ADDITIONS[pointer])

    assert answer.status == 422, answer
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]
    assert await customers_of(ada) == []


async def test_a_method_of_somebody_else_is_not_there(ada: Person, bob: Person) -> None:
    method = await ada.saves()
    await bob.saves()

    for path in (f"/{method['id']}", "/pm_none", "/pm_%00", "/pm_" + "x" * 300, "/%2e%2e"):
        answers = [
            await bob.call("POST", f"{path}/default"),
            await bob.call("PATCH", path, {"label": "Mine now"}),
            await bob.call("DELETE", path),
        ]
        assert [answer.status for answer in answers] == [404] * 3, path
    assert await ada.methods() == [method]
    assert (await ada.shopper.stripe("GET", f"/v1/payment_methods/{method['id']}"))["customer"] is not None


async def test_only_a_customer_has_methods(ada: Person) -> None:
    url = f"{ada.shopper.deployment.front_door_url}/api/payments/methods"
    support = {"Authorization": f"Bearer {ada.shopper.deployment.keys.token('sam', 'support')}"}
    key = {"Idempotency-Key": secrets.token_hex(12)}

    assert (await ada.shopper.call("GET", url)).status == 401
    assert (await ada.shopper.call("GET", url, **support)).status == 403
    assert (await ada.shopper.call("POST", url, {}, **support, **key)).status == 403
    assert (await ada.shopper.call("DELETE", f"{url}/pm_1")).status == 401
    assert (await ada.call("POST", "", {})).body["code"] == "idempotency_key_invalid"


async def test_a_method_is_taken_away_at_stripe_first_and_once(ada: Person) -> None:
    method = await ada.saves()
    await ada.call("PATCH", f"/{method['id']}", {"label": "Old"})
    fault = {"kind": "cut_before", "path": f"/v1/payment_methods/{method['id']}/detach", "count": 2}
    await ada.shopper.stripe("POST", "/_sim/faults", fault)

    away = await ada.call("DELETE", f"/{method['id']}")
    await ada.shopper.stripe("DELETE", "/_sim/faults")
    kept = await ada.methods()
    gone = [await ada.call("DELETE", f"/{method['id']}") for _ in range(3)]

    assert (away.status, [m["id"] for m in kept]) == (503, [method["id"]])
    assert [answer.status for answer in gone] == [204] * 3
    assert await ada.methods() == []
    assert (await ada.shopper.stripe("GET", f"/v1/payment_methods/{method['id']}"))["customer"] is None
    assert len(await events_about(ada.shopper, method["id"], "payment_method.detached")) == 1
    assert (await ada.call("PATCH", f"/{method['id']}", {"label": "x"})).status == 404
    row = await ada.shopper.owner.fetchrow("SELECT * FROM checkout.payment_methods WHERE id = $1", method["id"])
    assert row is not None
    assert (row["detached"], row["last4"], row["label"]) == (True, None, None)


async def test_people_who_take_a_method_away_at_the_same_time_all_succeed(ada: Person) -> None:
    method = await ada.saves()

    answers = await asyncio.gather(*(ada.call("DELETE", f"/{method['id']}") for _ in range(6)))

    assert {answer.status for answer in answers} == {204}


async def test_a_method_that_is_detached_at_stripe_disappears_and_stays_away(ada: Person) -> None:
    method = await ada.saves()
    await ada.shopper.stripe("POST", f"/v1/payment_methods/{method['id']}/detach")
    await ada.has(0)

    for type_ in ("payment_method.attached", "payment_method.detached"):
        for event in await events_about(ada.shopper, method["id"], type_):
            await ada.shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 3, "alias": True})
    await ada.shopper.quiet()

    assert await ada.methods() == []
    assert (await ada.call("DELETE", f"/{method['id']}")).status == 204


async def test_events_that_come_again_in_another_order_change_nothing(ada: Person) -> None:
    method = await ada.saves()
    for year in (2037, 2038, 2039):
        await ada.shopper.stripe("POST", f"/_sim/payment_methods/{method['id']}/renew", {"exp_year": year})
    types = ("payment_method.automatically_updated", "payment_method.attached")
    events = [event for type_ in types for event in await events_about(ada.shopper, method["id"], type_)]

    for event in (*events, *events[::-1]):
        await ada.shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 2, "alias": True})
    await ada.shopper.quiet()

    assert len(events) == 4
    assert [m["exp_year"] for m in await ada.methods()] == [2039]
    sql = "SELECT count(*) FROM checkout.payment_methods WHERE id = $1 AND asked = answered AND asked > 0"
    assert await ada.shopper.count(sql, method["id"]) == 1


async def test_a_method_whose_attachment_was_never_heard_of_is_asked_for(ada: Person) -> None:
    method = await ada.saves()
    await ada.shopper.quiet()
    await ada.shopper.owner.execute("DELETE FROM checkout.payment_methods WHERE id = $1", method["id"])
    listed = await ada.shopper.stripe("GET", "/v1/events?type=setup_intent.succeeded&limit=100")
    [event] = [e for e in listed["data"] if e["data"]["object"]["payment_method"] == method["id"]]

    await ada.shopper.stripe("POST", f"/_sim/events/{event['id']}/resend", {"copies": 1, "alias": True})

    assert await ada.has(1) == [method]


async def test_a_customer_deleted_at_stripe_is_made_anew_when_he_is_needed(ada: Person) -> None:
    method, before = await ada.saves(), await ada.stripe_customer()
    url = f"{ada.shopper.deployment.stripe_url}/v1/customers/{before}"
    await ada.shopper.call("DELETE", url, Authorization="Bearer sk_test_looking")
    await ada.has(0)

    after = await ada.saves()

    assert after["id"] != method["id"]
    assert await ada.stripe_customer() != before


async def test_a_card_expires_by_the_business_clock(ada: Person) -> None:
    now = datetime.fromtimestamp(
        await ada.shopper.owner.fetchval("SELECT extract(epoch FROM payments.business_now())::float8"), UTC
    )
    last_month = f"{12 if now.month == 1 else now.month - 1} / {(now.year - (now.month == 1)) % 100:02}"

    good = await ada.saves(CARD, expiry=f"{now.month} / {now.year % 100:02}")
    over = await ada.saves(MASTERCARD, expiry=last_month)

    assert (good["expired"], good["expires_soon"]) == (False, True)
    assert (over["expired"], over["expires_soon"]) == (True, False)


# -- buying ----------------------------------------------------------------------------------------------------------


async def place(person: Person, sku: str, **given: str) -> Json:
    """An order of a signed-in customer."""
    token = person.shopper.deployment.keys.token(person.subject, "customer", email=f"{person.subject}@example.com")
    url = f"{person.shopper.deployment.front_door_url}/api/payments/checkout-session"
    body = {"lines": [{"sku": sku, "quantity": 1}], "currency": "usd", **given}
    key = {"Idempotency-Key": secrets.token_hex(12)}
    answer = await person.shopper.call("POST", url, body, Authorization=f"Bearer {token}", **key)
    assert answer.status == 201, answer
    return answer.body


async def session_of(person: Person, order: Json) -> Json:
    """The order's session at Stripe."""
    path = f"/v1/checkout/sessions/{await person.shopper.session_of(order)}"
    found: Json = await person.shopper.stripe("GET", path)
    return found


async def test_a_customer_saves_what_he_pays_with_and_pays_with_it_again(ada: Person) -> None:
    sku = await ada.shopper.offer()
    first = await place(ada, sku)

    assert await ada.fill(first["checkout_url"], MASTERCARD, save="yes") == 303
    [method] = await ada.has(1)
    second = await place(ada, sku)
    async with ada.shopper.http.post(
        second["checkout_url"], data={"saved": method["id"]}, allow_redirects=False
    ) as answer:
        assert answer.status == 303
    await ada.shopper.until(second, "paid")

    session = await session_of(ada, second)
    assert (session["customer"], session["customer_email"]) == (await ada.stripe_customer(), None)
    assert session["saved_payment_method_options"]["payment_method_save"] == "enabled"
    assert len(await customers_of(ada)) == 1
    await ada.shopper.audited()


async def test_a_guest_is_no_customer(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())

    session = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}")

    assert (session["customer"], session["customer_email"]) == (None, "ada@example.com")
    assert session["saved_payment_method_options"] is None


async def test_whoever_wants_to_pay_may_although_his_customer_cannot_be_made(ada: Person) -> None:
    fault = {"kind": "cut_before", "path": "/v1/customers", "count": 2}
    await ada.shopper.stripe("POST", "/_sim/faults", fault)

    order = await place(ada, await ada.shopper.offer())

    await ada.shopper.stripe("DELETE", "/_sim/faults")
    session = await session_of(ada, order)
    assert (session["customer"], session["customer_email"]) == (None, f"{ada.subject}@example.com")


async def test_an_order_that_names_a_customer_who_is_gone_makes_room_for_another(ada: Person) -> None:
    await ada.add()
    await ada.shopper.owner.execute(
        "UPDATE checkout.customers SET stripe_customer_id = $2 WHERE subject = $1", ada.subject, f"cus_{ada.subject}"
    )
    sku = await ada.shopper.offer()
    token = ada.shopper.deployment.keys.token(ada.subject, "customer")
    url = f"{ada.shopper.deployment.front_door_url}/api/payments/checkout-session"
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com"}
    key = {"Idempotency-Key": secrets.token_hex(12)}

    refused = await ada.shopper.call("POST", url, body, Authorization=f"Bearer {token}", **key)
    order = await place(ada, sku)

    assert (refused.status, refused.body["code"]) == (502, "stripe_refused")
    assert (await session_of(ada, order))["customer"] == await ada.stripe_customer()
