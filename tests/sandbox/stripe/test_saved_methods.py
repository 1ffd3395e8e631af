"""Payment methods that a customer keeps: saved on a page, offered again, changed, and detached for good."""

from tests.sandbox.stripe.simulator import CARD, SHOP, Json, Simulator

CHALLENGED = "4000002760003184"
SAVING = {"payment_method_save": "enabled"}


async def _customer(simulator: Simulator) -> str:
    return str((await simulator.post("customers", {"email": "ada@example.com"}))["id"])


async def _setup(simulator: Simulator, customer: str) -> Json:
    form = {"mode": "setup", "currency": "usd", "customer": customer, "success_url": f"{SHOP}/saved"}
    return await simulator.post("checkout/sessions", form)


async def _methods(simulator: Simulator, customer: str) -> list[Json]:
    return list((await simulator.get("payment_methods", {"customer": customer}))["data"])


async def test_a_page_in_setup_mode_saves_a_card_and_moves_no_money(simulator: Simulator) -> None:
    customer = await _customer(simulator)
    session = await _setup(simulator, customer)
    form = {"number": CARD, "method": "card", "expiry": "7 / 31"}

    async with simulator.http.get(session["url"]) as answer:
        page = await answer.text()
    status, where = await simulator.fill(session["url"], form)

    assert (status, where) == (303, f"{SHOP}/saved")
    assert "Save a payment method" in page
    assert "ada@example.com" in page
    [method] = await _methods(simulator, customer)
    assert (method["card"]["exp_month"], method["card"]["exp_year"], method["allow_redisplay"]) == (7, 2031, "always")
    read = await simulator.get(f"checkout/sessions/{session['id']}", {"expand": ["setup_intent"]})
    assert (read["status"], read["payment_status"]) == ("complete", "no_payment_required")
    assert (read["setup_intent"]["status"], read["setup_intent"]["payment_method"]) == ("succeeded", method["id"])
    types = await simulator.types()
    assert not [type_ for type_ in types if type_.startswith(("charge.", "payment_intent."))]
    assert {"setup_intent.succeeded", "payment_method.attached", "checkout.session.completed"} <= set(types)


async def test_a_declined_card_is_not_saved_and_the_page_stays_open(simulator: Simulator) -> None:
    customer = await _customer(simulator)
    session = await _setup(simulator, customer)

    declined, page = await simulator.submit(session, "4000000000000002")
    saved_then, again = await _methods(simulator, customer), (await simulator.submit(session, CARD))[0]

    assert (declined, saved_then, again) == (402, [], 303)
    assert "declined" in page
    assert len(await _methods(simulator, customer)) == 1


async def test_a_challenge_comes_before_a_card_is_saved(simulator: Simulator) -> None:
    customer = await _customer(simulator)
    session = await _setup(simulator, customer)

    status, where = await simulator.submit(session, CHALLENGED)
    asked = await _methods(simulator, customer)
    passed, back = await simulator.fill(simulator.url + where, {"answer": "complete"})

    assert (status, asked, passed, back) == (303, [], 303, f"{SHOP}/saved")
    assert len(await _methods(simulator, customer)) == 1


async def test_a_buyer_who_wishes_so_is_offered_his_card_the_next_time(simulator: Simulator) -> None:
    customer = await _customer(simulator)
    given: Json = {"customer": customer, "saved_payment_method_options": SAVING}
    typed = {"number": CARD, "method": "card"}
    unasked, first, second = [await simulator.session(**given) for _ in range(3)]

    await simulator.fill(unasked["url"], typed)
    unsaved = await _methods(simulator, customer)
    await simulator.fill(first["url"], {**typed, "save": "yes"})
    [saved] = await _methods(simulator, customer)
    async with simulator.http.get(second["url"]) as answer:
        page = await answer.text()
    status, _ = await simulator.fill(second["url"], {"saved": saved["id"]})

    assert (unsaved, status) == ([], 303)
    assert "Visa •••• 4242" in page
    paid = await simulator.get(f"checkout/sessions/{second['id']}", {"expand": ["payment_intent"]})
    assert (paid["payment_status"], paid["payment_intent"]["payment_method"]) == ("paid", saved["id"])
    assert paid["customer_details"]["email"] == "ada@example.com"
    assert len(await _methods(simulator, customer)) == 1


async def test_a_wish_to_save_counts_only_where_the_session_lets_him_wish(simulator: Simulator) -> None:
    customer = await _customer(simulator)
    session = await simulator.session(customer=customer)

    await simulator.fill(session["url"], {"number": CARD, "method": "card", "save": "yes"})

    assert await _methods(simulator, customer) == []


async def test_what_was_detached_can_neither_be_detached_nor_attached_again(simulator: Simulator) -> None:
    customer = await _customer(simulator)
    await simulator.submit(await _setup(simulator, customer))
    [method] = await _methods(simulator, customer)
    path = f"/v1/payment_methods/{method['id']}"

    await simulator.post(f"payment_methods/{method['id']}/detach")
    twice = await simulator.call("POST", f"{path}/detach")
    back = await simulator.call("POST", f"{path}/attach", {"customer": customer})
    changed = await simulator.call("POST", path, {"metadata": {"a": "b"}})

    assert [twice.status, back.status, changed.status] == [400, 400, 400]
    assert "not attached to a customer" in twice.error["message"]
    assert "may not be used again" in back.error["message"]
    [event] = await simulator.events(type="payment_method.detached")
    assert event["data"]["object"]["customer"] is None
    assert event["data"]["previous_attributes"] == {"customer": customer}


async def test_a_card_that_the_bank_renews_is_said_with_what_it_was(simulator: Simulator) -> None:
    customer = await _customer(simulator)
    await simulator.submit(await _setup(simulator, customer))
    [method] = await _methods(simulator, customer)

    await simulator.control(f"payment_methods/{method['id']}/renew", {"exp_year": 2039})

    [event] = await simulator.events(type="payment_method.automatically_updated")
    assert event["data"]["object"]["card"]["exp_year"] == 2039
    assert event["data"]["previous_attributes"] == {"card": {"exp_year": 2034}}


async def test_a_customer_and_an_address_exclude_each_other(simulator: Simulator) -> None:
    customer = await _customer(simulator)
    form = {"mode": "payment", "success_url": SHOP, "customer": customer, "customer_email": "ada@example.com"}

    answer = await simulator.refused("POST", "/v1/checkout/sessions", form)

    assert answer.error["message"] == "You may only specify one of these parameters: customer, customer_email."
