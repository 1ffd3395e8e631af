"""Whoever asks for a refund is not who approves it: whatever he calls himself, and whatever the code forgets."""

import asyncpg
import pytest

from payments_shared.errors import Refused
from payments_shared.identity import mailbox_of, subject_of
from payments_shared.ids import new_id, parse_external_id
from refunds.decide.approving import check_second
from refunds.model.bills import NOTHING, Sum
from refunds.model.refunds import Order, State
from refunds.model.requests import Destination, Origin, Person, Request
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_requests import PATH, Staff, paid, staff
from tests.refunds.test_system_refunds import order_paid
from tests.support.one_service import OneService

__all__ = ["staff"]
INSERT = (
    "INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester,"
    " approver) VALUES ($1, $2, $3, 100, 'usd', 'test', 'approved', $4, $5)"
)
ADA = Person("ada", "ada@shop.example")
HIMSELF = {
    "the same subject": Person("ada", None),
    "another case of the subject": Person("AdA", None),
    "another subject with the same address": Person("lovelace", "ada@shop.example"),
    "the address in another case": Person("lovelace", "Ada@SHOP.example"),
    "the address with a tag": Person("lovelace", "ada+approvals@shop.example"),
    "white space around the subject": Person(" ada\t", None),
    "white space around the address": Person("lovelace", " ada@shop.example\u00a0"),
    "another address with the same subject": Person("ada", "somebody.else@mail.example"),
    "a full-width subject without an address": Person("\uff41\uff44\uff41", None),
    "a Cyrillic subject without an address": Person("\u0430d\u0430", None),
    "a subject with what nobody sees": Person("a\u200bda\ufeff", None),
    "a full-width address": Person("lovelace", "\uff41da@shop\uff0eexample"),
}
ANOTHER = {
    "another subject without an address": Person("grace", None),
    "another subject with another address": Person("grace", "grace@shop.example"),
    "an address that differs by a dot": Person("grace", "a.da@shop.example"),
    "the address of another house": Person("grace", "ada@mail.example"),
}


U17 = Person("u-17", "ada@shop.example")
NOBODYS = Order(new_id(), None, paid=True, shortfall=False)
GRACE = Person("grace", "grace@shop.example")


def asked_by(person: Person) -> Request:
    """A request that waits for somebody else."""
    return Request(
        id=new_id(),
        order_id=new_id(),
        currency="usd",
        amount_minor=60_000,
        sum=Sum(NOTHING),
        destination=Destination.ORIGINAL,
        reason="goodwill",
        note="",
        origin=Origin.PERSON,
        requester=person,
        needs=("per_refund",),
    )


@pytest.mark.parametrize("person", HIMSELF.values(), ids=HIMSELF)
def test_nobody_approves_what_he_asked_for_by_whatever_name(person: Person) -> None:
    for asker, approver in ((ADA, person), (person, ADA)):
        with pytest.raises(Refused) as refused:
            check_second(asked_by(asker), NOBODYS, approver)
        assert (refused.value.code, refused.value.status) == ("own_request", 403)


def test_nobody_approves_with_a_token_whose_subject_is_the_address_of_another() -> None:
    by_address = Person("Ada+approvals@shop.example")
    for asker, approver in ((by_address, U17), (U17, by_address)):
        with pytest.raises(Refused, match="own_request"):
            check_second(asked_by(asker), NOBODYS, approver)


@pytest.mark.parametrize("person", ANOTHER.values(), ids=ANOTHER)
def test_somebody_else_may(person: Person) -> None:
    check_second(asked_by(ADA), NOBODYS, person)


@pytest.mark.parametrize("person", HIMSELF.values(), ids=HIMSELF)
def test_who_bought_decides_about_no_refund_of_it_by_whatever_name(person: Person) -> None:
    bought = Order(new_id(), {"email": ADA.email}, paid=True, shortfall=False, account=ADA.subject)

    with pytest.raises(Refused) as refused:
        check_second(asked_by(GRACE), bought, person)

    assert (refused.value.code, refused.value.status) == ("own_order", 403)


def test_a_guest_is_known_by_his_mailbox_also_where_that_is_the_subject_of_a_token() -> None:
    bought = Order(new_id(), {"email": ADA.email}, paid=True, shortfall=False)

    with pytest.raises(Refused, match="own_order"):
        check_second(asked_by(GRACE), bought, Person("Ada+approvals@shop.example"))


@pytest.mark.parametrize("person", ANOTHER.values(), ids=ANOTHER)
def test_somebody_else_than_the_buyer_may(person: Person) -> None:
    bought = Order(new_id(), {"email": ADA.email}, paid=True, shortfall=False, account=ADA.subject)

    check_second(asked_by(Person("sam", "sam@shop.example")), bought, person)


@pytest.mark.servers
async def test_the_buyer_is_refused_as_the_second_person_by_the_service_and_by_the_database(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(80_000)
    buyer, mailbox = f"buyer-{order_id.hex}", f"{order_id.hex}@mail.example"
    customer = {"email": mailbox, "account": buyer}
    message = order_paid(order_id, (intent, 80_000))
    await refunds.tell(message.model_copy(update={"customer": message.customer.model_copy(update=customer)}))
    asked = await staff.ask(order_id, amount_minor=60_000)
    path = f"{PATH}s/{asked.body['refund_id']}"
    agreed = {name: asked.body[name] for name in ("amount_minor", "currency", "version")}
    token = refunds.deployment.keys.token
    answers = []
    for who, email in ((buyer, None), ("another", mailbox.upper()), (f"{order_id.hex}+x@mail.example", None)):
        headers = {"Authorization": f"Bearer {token(who, 'approver', email=email)}"}
        for verb, body in (("approve", agreed), ("reject", {})):
            async with staff.http.post(f"{path}/{verb}", json=body, headers=headers) as answer:
                answers.append((answer.status, (await answer.json())["code"]))

    assert answers == [(403, "own_order")] * 6
    request_id = parse_external_id("ref", asked.body["refund_id"])
    for decide in (
        "UPDATE refunds.requests SET decided_by = $2 WHERE id = $1",
        "UPDATE refunds.requests SET decided_by = 'another', decided_by_email = $2 WHERE id = $1",
        "UPDATE refunds.refunds SET approver = $2 WHERE request_id = $1",
    ):
        for name in (buyer.upper(), f"{order_id.hex}+x@mail.example"):
            with pytest.raises(asyncpg.CheckViolationError, match="is the second person"):
                await refunds.owner.execute(decide, request_id, name)
    assert (await staff.approve(asked.body)).status == 200


@pytest.mark.servers
async def test_the_database_lets_nobody_approve_what_they_asked_for(refunds: OneService, stripe: StripeBeside) -> None:
    order_id, intent = await paid(refunds, stripe, 500)

    for approver in ("ada", None, *(person.subject for person in HIMSELF.values() if person.subject != "lovelace")):
        with pytest.raises(asyncpg.CheckViolationError, match=r"four_eyes|second_person"):
            await refunds.owner.execute(INSERT, new_id(), order_id, intent, "ada", approver)

    await refunds.owner.execute(INSERT, new_id(), order_id, intent, "ada", "grace")


@pytest.mark.servers
async def test_the_database_knows_people_as_the_code_does(refunds: OneService, stripe: StripeBeside) -> None:
    order_id, _ = await paid(refunds, stripe, 500)
    people = [
        ADA,
        *HIMSELF.values(),
        *ANOTHER.values(),
        Person("\u0410\u0412\u0415\u03a7", "\u0410\u0412\u0415+x+y@\u039c.example"),
    ]
    sql = "SELECT refunds.identity_of($1) AS subject, refunds.mailbox_of($2) AS mailbox"

    told = [await refunds.owner.fetchrow(sql, one.subject, one.email) for one in people]

    assert [(row["subject"], row["mailbox"]) for row in told if row] == [
        (subject_of(one.subject), mailbox_of(one.email) if one.email else None) for one in people
    ]
    assert (subject_of(people[-1].subject), mailbox_of(people[-1].email or "")) == ("abex", "abe@m.example")
    insert = (
        "INSERT INTO refunds.requests (id, order_id, currency, amount_minor, reason, origin, requester,"
        " requester_email, decided_by, decided_by_email) VALUES ($1, $2, 'usd', 1, 'x', 'person', $3, $4, $5, $6)"
    )
    alike = [*((ADA, person) for person in HIMSELF.values()), (U17, Person("ada@shop.example"))]
    for asker, person in (*alike, *((person, asker) for asker, person in alike)):
        with pytest.raises(asyncpg.CheckViolationError, match="second_person"):
            await refunds.owner.execute(
                insert, new_id(), order_id, asker.subject, asker.email, person.subject, person.email
            )


@pytest.mark.servers
async def test_no_role_and_no_repeated_request_makes_an_approval_of_ones_own(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    """Whoever is administrator and approver, asks again with another role's token, or repeats his request."""
    order_id, _ = await paid(refunds, stripe, 80_000)
    headers = {"Idempotency-Key": "asked-by-the-admin"}
    body = {"order_id": f"ord_{order_id.hex}", "reason": "goodwill", "amount_minor": 60_000}
    token = refunds.deployment.keys.token

    def signed(*roles: str, email: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {token('root', *roles, email=email)}"}

    async with staff.http.post(PATH, json=body, headers=headers | signed("admin", "approver")) as answer:
        refund = await answer.json()
    async with staff.http.post(PATH, json=body, headers=headers | signed("support", "approver")) as answer:
        replayed, again = answer.headers.get("Idempotency-Replayed"), await answer.json()
    agreed = {name: refund[name] for name in ("amount_minor", "currency", "version")}
    approve = f"{PATH}s/{refund['refund_id']}/approve"
    own = []
    for who in (signed("admin", "approver"), signed("approver"), signed("approver", email="new@mail.example")):
        async with staff.http.post(approve, json=agreed, headers=headers | who) as answer:
            own.append((answer.status, (await answer.json())["code"]))
    shown = await staff.call("GET", f"{PATH}s/{refund['refund_id']}")
    rejected = await staff.call(
        "POST", f"{PATH}s/{refund['refund_id']}/reject", {"note": "No."}, who="ann", role="approver"
    )
    story = await staff.call("GET", f"{PATH}s/{refund['refund_id']}")

    assert (replayed, again["refund_id"], again["status"]) == ("true", refund["refund_id"], "awaiting_approval")
    assert own == [(403, "own_request")] * 3
    assert (shown.body["status"], shown.body["decided_by"]) == (State.AWAITING_APPROVAL, None)
    assert (rejected.status, rejected.body["status"]) == (200, "rejected")
    assert [(step["before"], step["after"], step["actor"].partition("-")[0]) for step in story.body["history"]] == [
        (None, "requested", "root"),
        ("requested", "awaiting_approval", "policy:rules"),
        ("awaiting_approval", "rejected", "ann"),
    ]
