"""One purchase from cart to mail, told as it happens, then Stripe's webhook five more times."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from operations.audit import Report as Found
from operations.audit import Verdict, run_audit
from payments_shared.money import Money, format_money
from sandbox.demo.customer import Customer, Json, wait_for
from sandbox.demo.report import Report
from sandbox.services.deployment import Deployment
from sandbox.truth import load_truth

SKU: Final = "MUG-CLAY"
EMAIL: Final = "ada@example.com"
COMPLETED: Final = "checkout.session.completed"
REPEATS: Final = 5
STEPS: Final = {
    f"stripe.{COMPLETED}": "webhook verified: its signature holds, the event is stored and published",
    "order.paid.v1": "order paid",
    "stock.committed.v1": "stock committed",
    "shipment.created.v1": "shipment created",
    "notification.sent.v1": "mail delivered",
}
BESIDES: Final = ("order.placed.v1", "stripe.charge.succeeded", "stripe.payment_intent.succeeded")
"""What else is told of a purchase, and no step of its own."""


@dataclass(frozen=True, slots=True)
class Effects:
    """How often each effect of a purchase happened."""

    paid: int
    pieces_sold: int
    shipments: int
    mails: int
    told: int


async def tell(customer: Customer, report: Report) -> Json:
    """Buy two mugs with a coupon and return the order."""
    before = await customer.stock(SKU)
    order = await _place(customer, report)
    report.check("stock held while the buyer pays", expected=2, seen=(await customer.stock(SKU))["held"])
    status = await customer.pay(order)
    if report.check("the hosted page took the payment", expected=303, seen=status):
        report.say("paid on the hosted page with the test card 4242 4242 4242 4242")
    await _follow(customer, report, order)
    seen = await customer.order(order)
    (mail,) = await wait_for(lambda: customer.mails(order), "the mail at the mailbox")
    report.say(f"read it: {customer.deployment.mailbox_url}/mail/{mail['id']}")
    report.check("the order shows", expected="paid", seen=seen["status"])
    report.check("2 mugs at $18.00 less 10 percent", expected=3240, seen=seen["total_minor"])
    await _at_rest(customer)
    once = Effects(paid=1, pieces_sold=2, shipments=1, mails=1, told=len(STEPS) + len(BESIDES))
    effects = await _effects(customer, order, before)
    report.check("effects of the purchase", expected=_in_words(once), seen=_in_words(effects))
    return order


async def _place(customer: Customer, report: Report) -> Json:
    lines = [{"sku": SKU, "quantity": 2}]
    order = await customer.place(lines, email=EMAIL, coupon="WELCOME10")
    total = format_money(Money(order["total_minor"], order["currency"]))
    report.say(f"order placed: {order['order_id']}, {total}, priced by the server")
    held = await customer.stock(SKU)
    report.say(f"stock held: {held['held']} of {held['total']} pieces of {SKU}, {held['available']} left for others")
    report.say(f"session created: {order['checkout_url']}")
    return order


async def _follow(customer: Customer, report: Report, order: Json) -> None:
    """Print each step of the platform the moment it is known."""
    paid_at = time.monotonic()
    told: set[str] = set()

    async def next_steps() -> list[str]:
        types = [message["type"] for message in await customer.story(order)]
        return [name for name in STEPS if name in types and name not in told]

    while told != STEPS.keys():
        for name in await wait_for(next_steps, f"{sorted(STEPS.keys() - told)}"):
            told.add(name)
            report.say(f"{STEPS[name]}  (+{(time.monotonic() - paid_at) * 1000:.0f} ms)")


async def repeat(customer: Customer, report: Report, order: Json) -> None:
    """Deliver the webhook again and see that nothing happens."""
    unchanged = await _effects(customer, order, None)
    event = await customer.event(order, COMPLETED)
    statuses = await customer.send_again(event, REPEATS)
    report.say(f"{event['id']} sent {REPEATS} more times: answered {', '.join(map(str, statuses))}")
    report.check(f"answers to {REPEATS} repeats of the webhook", expected=[200] * REPEATS, seen=statuses)
    await _at_rest(customer)
    effects = await _effects(customer, order, None)
    if report.check("effects after the repeats", expected=_in_words(unchanged), seen=_in_words(effects)):
        report.say("nothing happened twice")


async def audit(customer: Customer, report: Report) -> None:
    """Compare all schemas with what Stripe and the mailbox hold."""
    found = await _at_rest(customer)
    verdicts = Counter(finding.verdict for finding in found.findings)
    examined = sum(finding.examined for finding in found.findings)
    report.say(
        f"audit: {verdicts[Verdict.HOLDS]} predicates hold over {examined} rows, "
        f"{verdicts[Verdict.NOT_RUN]} wait for a ledger"
    )
    report.check("predicates of the audit violated", expected=[], seen=[f.predicate.name for f in found.violated])


async def know_truth(deployment: Deployment) -> None:
    """Let the audit compare with what Stripe and the mailbox hold at this moment."""
    await load_truth(
        database_url=deployment.provisioned.database_urls["sandbox"],
        stripe_url=deployment.stripe_url,
        mailbox_url=deployment.mailbox_url,
    )


async def _at_rest(customer: Customer) -> Found:
    """The audit, once every message was heard."""
    found: list[Found] = []

    async def rests() -> bool:
        await know_truth(customer.deployment)
        found[:] = [await run_audit(customer.deployment.provisioned.database_urls["auditor"])]
        return not {f.predicate.number for f in found[0].violated} & {"I22", "I23", "I25"}

    await wait_for(rests, "every message to be heard")
    return found[0]


async def _effects(customer: Customer, order: Json, before: Json | None) -> Effects:
    types = Counter(message["type"] for message in await customer.story(order))
    stock = await customer.stock(SKU)
    return Effects(
        paid=types["order.paid.v1"],
        pieces_sold=stock["committed"] - (before["committed"] if before else 0),
        shipments=len(await customer.shipments(order)),
        mails=len(await customer.mails(order)),
        told=sum(types.values()),
    )


def _in_words(effects: Effects) -> str:
    return (
        f"{effects.paid} payment, {effects.pieces_sold} pieces sold, {effects.shipments} shipment, "
        f"{effects.mails} mail, {effects.told} messages"
    )
