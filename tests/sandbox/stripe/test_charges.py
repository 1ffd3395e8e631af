"""Payment intents over saved methods: charged without their owner, confirmed with him, and closed."""

from tests.sandbox.stripe.simulator import SHOP, Answer, Json, Simulator

VISA, READY, ASKS, DECLINES = "4242424242424242", "4000002500003155", "4000002760003184", "4000000000000341"


async def _saved(simulator: Simulator, number: str) -> Json:
    """A card that a customer saved on Stripe's page."""
    customer = await simulator.post("customers", {"email": "ada@example.com"})
    form = {"mode": "setup", "currency": "usd", "customer": customer["id"], "success_url": SHOP}
    status, where = await simulator.submit(await simulator.post("checkout/sessions", form), number)
    if "/c/challenge/" in where:
        status, _ = await simulator.fill(simulator.url + where, {"answer": "complete"})
    assert status == 303
    return dict((await simulator.get("payment_methods", {"customer": customer["id"]}))["data"][0])


async def _charged(simulator: Simulator, method: Json, **given: object) -> Answer:
    form = {"amount": 500, "currency": "usd", "customer": method["customer"], "payment_method": method["id"]}
    return await simulator.call(
        "POST", "/v1/payment_intents", {**form, "confirm": True, "off_session": True, "metadata": {"a": "b"}, **given}
    )


async def test_a_saved_card_is_charged_without_its_owner(simulator: Simulator) -> None:
    for number in (VISA, READY):
        answer = await _charged(simulator, await _saved(simulator, number))

        assert (answer.status, answer.body["status"], answer.body["amount_received"]) == (200, "succeeded", 500)


async def test_a_card_that_always_asks_is_declined_without_its_owner(simulator: Simulator) -> None:
    answer = await _charged(simulator, await _saved(simulator, ASKS))

    assert answer.status == 402
    assert (answer.error["code"], answer.error["decline_code"]) == ("authentication_required",) * 2
    intent = answer.error["payment_intent"]
    assert (intent["status"], intent["last_payment_error"]["code"]) == (
        "requires_payment_method",
        "authentication_required",
    )
    (event,) = await simulator.events(type="payment_intent.payment_failed")
    assert event["data"]["object"]["id"] == intent["id"]


async def _asked(simulator: Simulator) -> tuple[Json, Json]:
    """A card that asks, and its intent confirmed by its owner."""
    method = await _saved(simulator, ASKS)
    intent = (await _charged(simulator, method)).error["payment_intent"]
    confirmed = await simulator.post(
        f"payment_intents/{intent['id']}/confirm",
        {"payment_method": method["id"], "return_url": f"{SHOP}/back?order_id=ord_1"},
    )
    return method, confirmed


async def test_with_its_owner_it_waits_for_his_answer_and_leads_back(simulator: Simulator) -> None:
    _, intent = await _asked(simulator)
    redirect = intent["next_action"]["redirect_to_url"]

    status, where = await simulator.fill(redirect["url"], {"answer": "complete"})

    assert (intent["status"], redirect["return_url"]) == ("requires_action", f"{SHOP}/back?order_id=ord_1")
    assert status == 303
    assert where.startswith(f"{SHOP}/back?order_id=ord_1&payment_intent={intent['id']}&")
    assert where.endswith("redirect_status=succeeded")
    read = await simulator.get(f"payment_intents/{intent['id']}")
    assert (read["status"], read["next_action"], read["amount_received"]) == ("succeeded", None, 500)


async def test_an_answer_that_fails_charges_nothing(simulator: Simulator) -> None:
    _, intent = await _asked(simulator)
    charges = len((await simulator.get("charges", {"payment_intent": intent["id"]}))["data"])

    _, where = await simulator.fill(intent["next_action"]["redirect_to_url"]["url"], {"answer": "fail"})

    assert where.endswith("redirect_status=failed")
    read = await simulator.get(f"payment_intents/{intent['id']}")
    assert read["status"] == "requires_payment_method"
    assert read["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert len((await simulator.get("charges", {"payment_intent": intent["id"]}))["data"]) == charges


async def test_what_was_canceled_waits_for_nobody(simulator: Simulator) -> None:
    method, intent = await _asked(simulator)

    canceled = await simulator.post(f"payment_intents/{intent['id']}/cancel")
    status, _ = await simulator.fill(intent["next_action"]["redirect_to_url"]["url"], {"answer": "complete"})
    again = await simulator.call(
        "POST", f"/v1/payment_intents/{intent['id']}/confirm", {"payment_method": method["id"]}
    )

    assert (canceled["status"], canceled["next_action"], status) == ("canceled", None, 404)
    assert (again.status, again.error["code"]) == (400, "payment_intent_unexpected_state")


async def test_a_card_may_be_saved_and_yet_be_declined(simulator: Simulator) -> None:
    answer = await _charged(simulator, await _saved(simulator, DECLINES))

    assert (answer.status, answer.error["code"], answer.error["decline_code"]) == (
        402,
        "card_declined",
        "generic_decline",
    )


async def test_a_method_pays_for_its_own_customer_alone_and_not_once_it_is_detached(simulator: Simulator) -> None:
    method, other = await _saved(simulator, VISA), await _saved(simulator, VISA)

    foreign = await _charged(simulator, {**method, "customer": other["customer"]})
    await simulator.post(f"payment_methods/{method['id']}/detach")
    gone = await _charged(simulator, method)

    assert (foreign.status, foreign.error["param"]) == (400, "payment_method")
    assert gone.status == 400
    assert "may not be used again" in gone.error["message"]
    assert await simulator.events(type="payment_intent.created") == []


async def test_off_session_means_to_confirm(simulator: Simulator) -> None:
    answer = await _charged(simulator, await _saved(simulator, VISA), confirm=False)

    assert (answer.status, answer.error["param"]) == (400, "off_session")


async def test_a_bank_that_changes_its_mind_says_yes_to_the_same_intent(simulator: Simulator) -> None:
    method = await _saved(simulator, "4000000000990020")
    first = await _charged(simulator, method)
    intent = first.error["payment_intent"]
    again = {"payment_method": method["id"], "off_session": True}

    second = await simulator.call("POST", f"/v1/payment_intents/{intent['id']}/confirm", again)
    third = await simulator.call("POST", f"/v1/payment_intents/{intent['id']}/confirm", again)

    assert (first.status, second.status, third.status) == (402, 402, 200)
    assert second.error["decline_code"] == "insufficient_funds"
    assert (third.body["status"], third.body["last_payment_error"]) == ("succeeded", None)
    charges = (await simulator.get("charges", {"payment_intent": intent["id"]}))["data"]
    assert sorted(charge["status"] for charge in charges) == ["failed", "failed", "succeeded"]


async def test_what_a_bank_advises_stands_in_the_error_the_intent_and_the_charge(simulator: Simulator) -> None:
    answer = await _charged(simulator, await _saved(simulator, "4000000000990079"))

    intent = answer.error["payment_intent"]
    charge = await simulator.get(f"charges/{intent['latest_charge']}")
    advised = (
        answer.error["advice_code"],
        intent["last_payment_error"]["advice_code"],
        charge["outcome"]["advice_code"],
    )
    assert (answer.status, advised) == (402, ("do_not_try_again",) * 3)


async def test_what_is_authorized_and_not_captured_ends_after_a_week(simulator: Simulator) -> None:
    kept = (await _charged(simulator, await _saved(simulator, VISA), capture_method="manual")).body
    taken = (await _charged(simulator, await _saved(simulator, VISA), capture_method="manual")).body
    captured = await simulator.post(f"payment_intents/{taken['id']}/capture")

    await simulator.later(7 * 86_400 + 60)

    ended = await simulator.get(f"payment_intents/{kept['id']}")
    assert (kept["status"], kept["amount_capturable"], captured["amount_received"]) == ("requires_capture", 500, 500)
    assert (ended["status"], ended["cancellation_reason"], ended["amount_capturable"]) == ("canceled", "automatic", 0)
    refused = await simulator.call("POST", f"/v1/payment_intents/{kept['id']}/capture")
    assert (refused.status, refused.error["code"]) == (400, "payment_intent_unexpected_state")
    assert [event["data"]["object"]["id"] for event in await simulator.events(type="payment_intent.canceled")] == [
        kept["id"]
    ]
    assert (await simulator.get(f"payment_intents/{taken['id']}"))["status"] == "succeeded"
