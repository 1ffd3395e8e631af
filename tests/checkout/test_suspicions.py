"""Reviews and warnings hold what was paid for, until they end or the money is back."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from checkout.decide.risks import OUTCOMES
from payments_shared.ids import external_id, new_id
from sandbox.services.resolver import Servers
from tests.checkout.fraud import (
    a_careful_shop,
    charge_of,
    decided,
    held,
    leaves,
    looked_at,
    no_parcel,
    parcel,
    reviewed,
    ship,
    warned,
)
from tests.support.exposition import Exposition
from tests.support.shopping import Shopper, eventually, uuid_of

REVIEWED_CARD = "4000000000009235"
WARNED_CARD = "4000000000005423"

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(servers: Servers) -> AsyncIterator[Shopper]:
    """A shop that gives small amounts back when a bank warns of them."""
    async with a_careful_shop(servers, PAYMENTS_WARNING_REFUNDS="usd=2000, eur=0") as made:
        yield made


async def paid_at_once(shop: Shopper, **given: object) -> dict[str, object]:
    order = await shop.bought(await shop.offer(), **given)
    await shop.until(order, "paid")
    return order


async def test_what_radar_saw_of_an_attempt_is_shown_to_support_and_not_to_the_buyer(shop: Shopper) -> None:
    order = await shop.placed(await shop.offer())
    assert await shop.pay(order, card="4100000000000019") == 402
    assert await shop.pay(order) == 303
    buyers = await shop.until(order, "paid")
    await shop.quiet()

    blocked, passed = (await looked_at(shop, order))["risk"]

    assert (blocked["gate"], blocked["outcome"]) == ("radar", "blocked")
    assert blocked["reasons"] == ["highest_risk_level", "Stripe blocked this payment as too risky."]
    assert (blocked["detail"]["risk_score"], blocked["detail"]["network_status"]) == (91, "not_sent_to_network")
    assert (passed["outcome"], passed["detail"]["risk_level"]) == ("normal", "normal")
    assert passed["at"] > blocked["at"]
    assert "risk" not in str(buyers)


async def test_payctl_shows_what_was_decided_with_the_story_of_the_order(shop: Shopper, tmp_path: Path) -> None:
    order = await paid_at_once(shop)
    await reviewed(shop, order)
    await held(shop, order, "review")
    token = tmp_path / "token"
    token.write_text(shop.deployment.keys.token("olga", "operator"))
    environment = {
        "PATH": os.environ["PATH"],
        "PAYMENTS_OPERATIONS_URL": shop.deployment.internal_url("operations"),
        "PAYMENTS_CHECKOUT_URL": shop.deployment.internal_url("checkout"),
        "PAYMENTS_TOKEN_FILE": str(token),
    }
    command = [str(Path(sys.executable).parent / "payctl"), "order", str(order["order_id"])]

    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=environment, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "order.placed.v1" in done.stdout
    assert "score 12" in done.stdout
    assert re.search(r"review\W+opened\W+rule", done.stdout)


async def test_a_payment_in_review_is_not_sent_until_it_is_approved(shop: Shopper) -> None:
    """Stripe opens the review before it tells of the session, so that the order of the intent is not known here."""
    order = await shop.placed(await shop.offer())
    assert await shop.pay(order, card=REVIEWED_CARD) == 303
    assert (await held(shop, order, "review"))["status"] == "paid"
    assert (await shop.order(order))["held"] is True
    await shop.quiet()
    assert not await leaves(shop, order)
    (mail,) = await shop.mails(order, "order_held")
    assert "asks for a review" in (await shop.mail_parts(mail))[1]
    await shop.advance(4 * 86_400)
    await shop.audited()
    assert (await looked_at(shop, order))["held_reason"] == "review", "no deadline ends it"

    charge = await charge_of(shop, order)
    review = (await shop.stripe("GET", f"/v1/charges/{charge}"))["review"]
    await shop.stripe("POST", f"/_sim/reviews/{review}/close", {"closed_reason": "approved"})

    await held(shop, order, None)
    await parcel(shop, order, "created")
    assert await decided(shop, order) == [("review", "opened"), ("review", "approved")]
    assert await ship(shop, order) == 200
    await shop.audited()


async def test_a_parcel_that_is_ready_stays_while_its_payment_is_in_review(shop: Shopper) -> None:
    order = await paid_at_once(shop)
    await parcel(shop, order, "created")
    await reviewed(shop, order)
    await held(shop, order, "review")
    await shop.quiet()

    assert await ship(shop, order) == 409

    answer = await shop.admin("POST", "checkout", f"/admin/orders/{order['order_id']}/release", {"reason": "he called"})
    assert answer.body == {"released": True, "held_reason": None}
    await shop.quiet()
    assert await ship(shop, order) == 200
    assert ("review", "released") in await decided(shop, order)
    await shop.audited()


async def test_what_a_review_ends_with_a_refund_is_never_sent_nor_released(shop: Shopper) -> None:
    order = await paid_at_once(shop)
    review = await reviewed(shop, order)
    await held(shop, order, "review")

    await shop.stripe("POST", f"/_sim/reviews/{review}/close", {"closed_reason": "refunded_as_fraud"})

    await held(shop, order, "review_rejected")
    token = shop.deployment.keys.token("carol", "admin")
    url = f"{shop.deployment.internal_url('checkout')}/admin/orders/{order['order_id']}/release"
    refused = await shop.call("POST", url, {"reason": "he called"}, Authorization=f"Bearer {token}")
    assert (refused.status, refused.body["code"]) == (409, "review_rejected")
    await shop.quiet()
    assert await ship(shop, order) == 409
    await shop.audited()


@pytest.mark.parametrize(("method", "door"), [("GET", ""), ("POST", "/release"), ("POST", "/refuse")])
async def test_an_order_that_there_is_not_is_not_found_at_any_door(shop: Shopper, method: str, door: str) -> None:
    token = shop.deployment.keys.token("carol", "admin")
    url = f"{shop.deployment.internal_url('checkout')}/admin/orders/{external_id('ord', new_id())}{door}"

    answer = await shop.call(method, url, {"reason": "he called"} if door else None, Authorization=f"Bearer {token}")

    assert (answer.status, answer.body["code"]) == (404, "not_found")


async def test_a_small_amount_goes_back_once_when_its_bank_warns_and_the_goods_to_the_shelf(shop: Shopper) -> None:
    sku = await shop.offer(stock=1)
    order = await shop.placed(sku)
    assert await shop.pay(order, card=WARNED_CARD) == 303

    async def back() -> bool:
        return bool(await shop.mails(order, "refund_succeeded"))

    await eventually(back, within=60, what="the money is on its way back")
    await warned(shop, order)
    await shop.quiet()

    assert (await shop.order(order))["refunded_minor"] == 1800
    assert len(await shop.mails(order, "refund_succeeded")) == 1, "a second warning gives nothing back"
    sql = "SELECT reason || ' ' || requester || ' ' || state FROM refunds.refunds WHERE order_id = $1"
    assert await shop.owner.fetchval(sql, uuid_of(order)) == (
        "early_fraud_warning system:early_fraud_warning succeeded"
    )
    assert await no_parcel(shop, order)
    assert (await shop.stock_of(sku))["available"] == 1
    assert ("early_fraud_warning", "refund") in await decided(shop, order)
    await shop.audited()


async def test_a_large_amount_that_its_bank_warns_of_waits_for_a_person(shop: Shopper) -> None:
    order = await paid_at_once(shop, quantity=2)
    await warned(shop, order)
    await held(shop, order, "early_fraud_warning")
    await shop.quiet()

    assert await ship(shop, order) == 409
    assert (await shop.order(order))["refunded_minor"] == 0
    (mail,) = await shop.mails(order, "order_held")
    assert "believes that it was fraud" in (await shop.mail_parts(mail))[1]
    await shop.audited()


async def test_a_warning_that_comes_after_the_goods_have_left_changes_nothing(shop: Shopper) -> None:
    order = await paid_at_once(shop)
    assert await ship(shop, order) == 200
    await shop.quiet()

    await warned(shop, order)

    async def told() -> bool:
        return ("early_fraud_warning", "shipped") in await decided(shop, order)

    await eventually(told, what="the warning is known")
    await shop.quiet()
    seen = await looked_at(shop, order)
    assert (seen["held_reason"], seen["refunded_minor"]) == (None, 0)
    await shop.audited()


async def test_a_rejection_holds_again_what_a_person_had_released(shop: Shopper) -> None:
    order = await paid_at_once(shop)
    review = await reviewed(shop, order)
    await held(shop, order, "review")
    await shop.admin("POST", "checkout", f"/admin/orders/{order['order_id']}/release", {"reason": "he called"})
    await parcel(shop, order, "created")

    await shop.stripe("POST", f"/_sim/reviews/{review}/close", {"closed_reason": "refunded_as_fraud"})

    await held(shop, order, "review_rejected")
    await shop.quiet()
    assert await ship(shop, order) == 409
    await shop.audited()


async def payctl(shop: Shopper, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    token = tmp_path / "token"
    token.write_text(shop.deployment.keys.token("carol", "admin"))
    environment = {
        "PATH": os.environ["PATH"],
        "PAYMENTS_CHECKOUT_URL": shop.deployment.internal_url("checkout"),
        "PAYMENTS_TOKEN_FILE": str(token),
    }
    command = [str(Path(sys.executable).parent / "payctl"), *words]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=environment, timeout=60, check=False
    )


@pytest.mark.parametrize("suspicion", ["early_fraud_warning", "review_rejected"])
async def test_what_a_person_refuses_comes_to_an_end_with_its_money_and_its_goods(
    shop: Shopper, tmp_path: Path, suspicion: str
) -> None:
    """More than what goes back by itself; the runbook's commands."""
    sku = await shop.offer(stock=2)
    order = await shop.bought(sku, quantity=2)
    await shop.until(order, "paid")
    if suspicion == "early_fraud_warning":
        await warned(shop, order)
    else:
        review = await reviewed(shop, order)
        await shop.stripe("POST", f"/_sim/reviews/{review}/close", {"closed_reason": "disputed"})
    await held(shop, order, suspicion)
    words = ("order", "refuse", str(order["order_id"]), "--reason", "not the cardholder")

    refused, again = [await payctl(shop, tmp_path, *words) for _ in range(2)]
    released = await payctl(shop, tmp_path, "order", "release", *words[2:])

    assert (refused.returncode, again.returncode) == (0, 0), refused.stderr + again.stderr
    assert "refused; held for: " in refused.stdout
    assert (released.returncode, released.stderr[:14]) == (1, "order_refused:")

    await held(shop, order, None)
    await shop.quiet()
    buyers = await shop.order(order)
    assert (buyers["held"], buyers["refunded_minor"]) == (False, 3600)
    assert len(await shop.mails(order, "refund_succeeded")) == 1
    assert await no_parcel(shop, order)
    assert (await shop.stock_of(sku))["available"] == 2
    risk = (await looked_at(shop, order))["risk"][-1]
    assert (risk["gate"], risk["reasons"]) == ("person", ["refused by carol", "not the cardholder"])
    await shop.audited()


async def test_a_person_who_releases_says_why(shop: Shopper, tmp_path: Path) -> None:
    order = await paid_at_once(shop, quantity=2)
    await warned(shop, order)
    await held(shop, order, "early_fraud_warning")

    done = await payctl(shop, tmp_path, "order", "release", str(order["order_id"]), "--reason", "he called")

    assert (done.returncode, done.stdout) == (0, f"{order['order_id']}: released; held for: nothing\n"), done.stderr
    risk = (await looked_at(shop, order))["risk"][-1]
    assert risk["reasons"] == ["released by carol", "he called"]


async def test_only_an_administrator_refuses_and_only_what_is_held(shop: Shopper) -> None:
    order = await paid_at_once(shop)
    url = f"{shop.deployment.internal_url('checkout')}/admin/orders/{order['order_id']}/refuse"
    reason = {"reason": "no reason at all"}

    olga, carol = [
        {"Authorization": f"Bearer {shop.deployment.keys.token(name, role)}"}
        for name, role in (("olga", "operator"), ("carol", "admin"))
    ]
    by_olga = await shop.call("POST", url, reason, **olga)
    by_carol = await shop.call("POST", url, reason, **carol)
    for_nothing = await shop.call("POST", url, {}, **carol)

    assert by_olga.status == 403
    assert (by_carol.status, by_carol.body["code"]) == (409, "order_not_held")
    assert for_nothing.status == 422
    assert (await shop.order(order))["refunded_minor"] == 0


# -- what is measured ------------------------------------------------------------------------------------------------


async def test_the_age_of_a_hold_counts_while_nobody_has_decided(shop: Shopper) -> None:
    order = await paid_at_once(shop, quantity=2)
    await warned(shop, order)
    await held(shop, order, "early_fraud_warning")
    sql = "UPDATE checkout.order_announcements SET at = at - interval '2 days' WHERE order_id = $1"
    await shop.owner.execute(sql, uuid_of(order))
    seen = Exposition(shop.http, shop.deployment.internal_url("checkout"))

    async def oldest(above: float, below: float) -> bool:
        age = await seen.of("payments_orders_undecided_seconds", reason="early_fraud_warning")
        return above <= age < below

    await eventually(lambda: oldest(172_800, 200_000), what="a hold that is two days old")
    await shop.admin("POST", "checkout", f"/admin/orders/{order['order_id']}/refuse", {"reason": "not his card"})
    await eventually(lambda: oldest(0, 86_400), what="a decision that ends the waiting")


async def test_every_decision_is_counted_from_nought_on(shop: Shopper) -> None:
    async with shop.http.get(f"{shop.deployment.internal_url('checkout')}/metrics") as answer:
        told = await answer.text()

    for gate, outcomes in OUTCOMES.items():
        for outcome in outcomes:
            assert f'payments_risk_decisions_total{{gate="{gate}",outcome="{outcome}"}}' in told


async def test_a_suspicion_of_somebody_elses_payment_is_nobodys_here(shop: Shopper) -> None:
    """The account serves other shops too."""
    form = "amount=500&currency=usd&confirm=true&payment_method=pm_card_visa"
    async with shop.http.post(
        f"{shop.deployment.stripe_url}/v1/payment_intents",
        data=form,
        headers={"Authorization": "Bearer sk_test_other", "Content-Type": "application/x-www-form-urlencoded"},
    ) as answer:
        charge = (await answer.json())["latest_charge"]

    await shop.stripe("POST", f"/_sim/charges/{charge}/review", {})
    await shop.stripe("POST", f"/_sim/charges/{charge}/warn", {})

    await shop.quiet()
    assert await shop.count("SELECT count(*) FROM operations.dead_letters") == 0
