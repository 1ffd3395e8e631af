"""Who only looks or approves sees dead letters, orders and acts without what tells who a buyer is; operators, who mend
messages, see them whole."""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operations.decide import discretion
from operations.handlers.switching import Switching
from operations.routes.console import wording
from operations.routes.console.application import Desks, console_app
from payments_shared.contracts.checkout import Customer, OrderExpired
from payments_shared.ids import external_id, new_id
from payments_shared.personal import HIDDEN, hidden_body
from sandbox.services.resolver import Servers
from tests.operations.desk import LETTERS, Desk, desk_at, message
from tests.operations.visitors import Visitor

pytestmark = pytest.mark.servers
AUDIT = """
    INSERT INTO operations.dead_letter_audit (dead_letter_id, action, actor, reason, detail)
    VALUES ($1::text::uuid, 'edit', 'olga', 'a test', jsonb_build_object('changes', jsonb_build_array(jsonb_build_object(
        'pointer', '/data/customer/name', 'from', $2::text, 'to', null))))
"""
SAID = """
    INSERT INTO operations.timeline (message_id, order_ref, type, source, subject, time, data)
    VALUES ($1, $2, 'order.expired.v1', 'payments/checkout', $2, now(), jsonb_build_object('recipient', $3::text))
"""


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk with an identity provider beside it."""
    names, folder = ("identity", "fulfillment", "operations"), tmp_path_factory.mktemp("desk")
    async with desk_at(servers, folder, names=names, mark="t" + secrets.token_hex(4)) as made:
        yield made


async def signed_in(desk: Desk, subject: str) -> Visitor:
    made = Visitor(desk.deployment, desk.http)
    await made.sign_in(subject)
    return made


@pytest.mark.parametrize(("who", "sees"), [("vera", False), ("amir", False), ("olga", True), ("bea", True)])
async def test_who_a_buyer_is_is_shown_to_who_mends_messages(desk: Desk, who: str, sees: bool) -> None:
    order, name, mail = new_id(), f"Ada {secrets.token_hex(6)}", f"{secrets.token_hex(6)}@example.com"
    expired = message(OrderExpired(order_id=order, customer=Customer(email=mail, name=name)))
    failed = ValueError(f"no mail for {mail}: input_value='{name}', input_type=str")
    (letter,) = await desk.fail([expired], error=failed)
    await desk.owner.execute(AUDIT, letter, name)
    await desk.owner.execute(SAID, new_id(), external_id("ord", order), mail)
    fingerprint = (await desk.letter(letter))["fingerprint"]
    visitor = await signed_in(desk, who)

    pages = {
        path: (await visitor.look(path, **headers)).plain
        for path, headers in (
            (f"/console/dead-letters/{letter}", {}),
            (f"/console/dead-letters/{letter}/state", {"HX-Request": "true"}),
            (f"/console/dead-letters/list?fingerprint={fingerprint}", {}),
            ("/console/dead-letters?service=fulfillment&all=1", {}),
            (f"/console/search?q={letter}", {}),
            (f"/console/orders/{external_id('ord', order)}", {}),
            ("/console/audit?action=edit", {}),
        )
    }

    told = {path: name in page or mail in page for path, page in pages.items()}
    assert set(told.values()) == {sees}, told
    if not sees:
        assert {path for path, page in pages.items() if HIDDEN not in page} == set()
    kept = await desk.owner.fetchval("SELECT body FROM operations.dead_letters WHERE id = $1::text::uuid", letter)
    assert kept == expired.body, "what goes back is what it was"


def every_page(**known: str) -> list[str]:
    """The addresses of all pages that operations fills itself, with what is `known` in their places."""
    nobody: Any = None  # nothing is asked of anybody
    desks = Desks(agreeing=None, contesting=None, redelivering=None, switching=Switching({}, nobody))
    app = console_app(
        service="operations",
        origin="https://console.example",
        looking=nobody,
        acting=nobody,
        signing_in_=nobody,
        watching=nobody,
        desks=desks,
    )
    found = {route.resource.canonical for route in app.router.routes() if route.method == "GET" and route.resource}
    return [one.format(**known) for one in sorted(found) if one.startswith("/console") and "/static/" not in one]


async def test_no_page_tells_a_viewer_who_a_buyer_is(desk: Desk) -> None:
    order, name, mail = new_id(), f"Ada {secrets.token_hex(6)}", f"{secrets.token_hex(6)}@example.com"
    expired = message(OrderExpired(order_id=order, customer=Customer(email=mail, name=name)))
    (letter,) = await desk.fail(
        [expired], error=ValueError(f"no mail for {mail}: input_value='{name}', input_type=str")
    )
    await desk.owner.execute(AUDIT, letter, name)
    await desk.owner.execute(SAID, new_id(), external_id("ord", order), mail)
    bulk = await desk.start("discard", filter={"ids": [letter]})
    await desk.until_letter(letter, "discarded")
    vera = await signed_in(desk, "vera")
    leaving = "/console/sign-"

    addresses = every_page(id=letter, order_id=external_id("ord", order), name="console.css")
    addresses += [f"/console/bulks/{bulk['id']}", f"/console/search?q={external_id('ord', order)}"]
    shown = {one: await vera.look(one) for one in addresses if not one.startswith(leaving)}

    assert [one for one, page in shown.items() if name in page.plain or mail in page.plain] == []
    assert {f"/console/dead-letters/{letter}", "/console/audit", "/console/dead-letters/list"} <= {
        one for one, page in shown.items() if page.status == 200 and HIDDEN in page.plain
    }
    assert {page.status for page in shown.values()} <= {200, 400, 403, 404}


async def test_the_port_for_programs_shows_buyers_to_those_who_work_with_them_and_nothing_to_others(desk: Desk) -> None:
    mail = f"{secrets.token_hex(6)}@example.com"
    expired = message(OrderExpired(order_id=new_id(), customer=Customer(email=mail)))
    (letter,) = await desk.fail([expired])

    for role, status in (("operator", 200), ("admin", 200), ("support", 200), ("approver", 403), ("viewer", 403)):
        answered, shown = await desk.call("GET", f"{LETTERS}/{letter}", roles=(role,))
        assert (answered, mail in json.dumps(shown)) == (status, status == 200), role


ROW: dict[str, Any] = {
    "id": 1, "body": b'{"data":{"recipient":"ada@example.com"}}', "headers": {"x-note": "ada@example.com"},
    "stack": "ada@example.com", "exception_message": "ada@example.com", "correlation_id": "ord_1",
    "attempts_made": [{"exception_message": None, "body": None}, {"exception_message": "ada@x.io", "body": b"Ada"}],
    "audit": [{"actor": "olga@shop.example", "reason": "she wrote", "detail": None}],
}  # fmt: skip


def test_a_letter_keeps_who_acted_upon_it_and_tells_nothing_of_its_buyer() -> None:
    shown = discretion.letter(ROW)

    assert shown["body"] == b'{"data":{"recipient":"[hidden]"}}'
    assert (shown["headers"], shown["stack"], shown["exception_message"]) == ({"x-note": HIDDEN}, HIDDEN, HIDDEN)
    assert shown["attempts_made"] == [
        {"exception_message": None, "body": None},
        {"exception_message": HIDDEN, "body": HIDDEN.encode()},
    ]
    assert shown["audit"] == ROW["audit"]
    assert shown["correlation_id"] == "ord_1"
    assert discretion.words(None) is None


@pytest.mark.parametrize("body", [b"Ada Lovelace", b"\xff", b"[1]"])
def test_a_body_that_is_hidden_whole_is_said_to_be(body: bytes) -> None:
    shown = wording.payload(hidden_body(body))

    assert shown.text == HIDDEN
    assert "no JSON object" in str(shown.note)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, None),
        ({"filter": {"service": "checkout"}, "taken": 3}, {"filter": {"service": "checkout"}, "taken": 3}),
        ({"changes": "odd"}, {"changes": "odd"}),
        (
            {"force": True, "changes": [{"pointer": "/data/customer/name", "from": "Ada", "to": None}]},
            {"force": True, "changes": [{"pointer": "/data/customer/name", "from": HIDDEN, "to": HIDDEN}]},
        ),
        (
            {"changes": [{"pointer": "/data/reason", "from": "a", "to": {"email": "b"}}]},
            {"changes": [{"pointer": "/data/reason", "from": "a", "to": {"email": HIDDEN}}]},
        ),
    ],
)
def test_details_of_an_act_tell_nothing_of_a_buyer(given: Any, shown: Any) -> None:
    assert discretion.detail(given) == shown
