"""Who may do what: every caller asks for every operation, and the declaration of the operation says what he is told."""

import itertools
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import pytest
import pytest_asyncio

from payments_shared.auth import ServiceTokens
from payments_shared.contracts.catalog import SERVICES
from payments_shared.http.__main__ import apis
from payments_shared.http.operations import ANYONE, IDEMPOTENCY_KEY, PEOPLE, Operation
from payments_shared.http.operations import SERVICES as SERVICE_TOKEN
from sandbox.services.keys import ISSUER
from tests.contracts.snapshots import Json
from tests.support.documented import faults
from tests.support.shopping import Answer, Shopper, eventually

pytestmark = pytest.mark.servers

LOWEST, HIGHEST = 200, 499
# What is asked where the example of the document would be heard by other tests.
BODIES: Final[Mapping[str, Json]] = {
    "turnCheckoutsSwitch": {"state": "open"},
    "turnRefundsSwitch": {"state": "open"},
    "turnMailsSwitch": {"state": "open"},
    "putShippingOption": {"name": "Parcel", "amounts": {"eur": 490}, "active": False},
    "replaceTaxRates": {"rates": []},
    # Rules that somebody else has changed meanwhile: nothing comes of it.
    "putRefundRules": {
        "version": 999,
        "reason": "Late.",
        "per_refund": {},
        "per_operator_day": {},
        "per_customer_month": {},
    },
    "putProduct": {"name": "No name of the shop's", "prices": {"usd": 1800, "eur": 1700, "jpy": 2400}},
}
# What somebody is told who shows nothing that the operation knows.
STRANGERS: Final[Mapping[str, int]] = {"receiveStripeEvent": 400, "showUnsubscribe": 404, "unsubscribe": 404}
ROLES: Final = ("customer", "support", "admin", "approver", "operator", "viewer")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks, with what he shows. `roles` None: no person's token, or none that counts."""

    name: str
    headers: Mapping[str, str]
    roles: frozenset[str] | None = None
    service: bool = False
    broken: bool = False
    sees: frozenset[str] = frozenset()  # the names of the objects that are his


@dataclass(slots=True)
class World:
    """An order and a saved method of Ada's, an order of a guest's, and who may want to see them."""

    shopper: Shopper
    objects: dict[str, str] = field(default_factory=dict)
    callers: list[Caller] = field(default_factory=list)
    sku: str = ""

    async def ask(self, service: str, operation: Operation, caller: Caller, which: str) -> Answer:
        """One call; `which` names the order that is meant, where one is."""
        deployment = self.shopper.deployment
        inside = operation in {one for section in apis()[service].inside for one in section.operations}
        base = deployment.internal_url(service) if inside else deployment.front_door_url
        path = operation.template.format_map(self.variables(which))
        body = BODIES.get(operation.id, (operation.body.example or {}) if operation.body else None)
        key = {"Idempotency-Key": secrets.token_hex(12)} if IDEMPOTENCY_KEY in operation.parameters else {}
        return await self.shopper.call(operation.method, base + path, body, **caller.headers, **key)

    def variables(self, which: str) -> Mapping[str, str]:
        """What stands in paths; a variable that is not known here fails the test."""
        return {
            "order_id": self.objects[which],
            "method_id": self.objects["method"],
            "sku": self.sku,
            "code": "C" + secrets.token_hex(4),
            "country": "AQ",
            "import_id": str(uuid4()),
            "shipment_id": "shp_" + "0" * 32,
            "refund_id": "ref_" + "0" * 32,
            "dispute_id": "du_" + "0" * 24,
            "payment_intent": "pi_" + "0" * 24,
            "day": "2026-01-01",
            "event_id": "evt_" + "0" * 24,
            "id": str(uuid4()),
        }


@pytest_asyncio.fixture(loop_scope="session")
async def world(shopper: Shopper) -> AsyncIterator[World]:
    keys, sku = shopper.deployment.keys, await shopper.offer(stock=10)
    ada, bob = ("sub-" + secrets.token_hex(4) for _ in range(2))
    made = World(shopper, sku=sku)
    signed_in = {"Authorization": f"Bearer {keys.token(ada, 'customer', email='ada@example.com')}"}
    url = shopper.deployment.front_door_url + "/api/payments"
    wanted = {"lines": [{"sku": sku, "quantity": 1}], "currency": "usd"}
    order = await shopper.call(
        "POST", f"{url}/checkout-session", wanted, **signed_in, **{"Idempotency-Key": secrets.token_hex(12)}
    )
    guests = await shopper.placed(sku)
    made.objects = {"adas": order.body["order_id"], "a guest's": guests["order_id"], "none": "ord_" + "0" * 32}
    made.objects["method"] = await _saved_method(shopper, url, signed_in)
    minter = ServiceTokens(keys.checkout_key_file, "checkout", ISSUER, "checkout", "inventory")
    made.callers = [
        Caller("nobody", {}),
        Caller("Ada, a customer", signed_in, frozenset({"customer"}), sees=frozenset({"adas", "method"})),
        *(
            Caller(f"Bob, {role}", {"Authorization": f"Bearer {keys.token(bob, role)}"}, frozenset({role}))
            for role in ROLES
        ),
        Caller("Bob without a role", {"Authorization": f"Bearer {keys.token(bob)}"}, frozenset()),
        Caller("the guest", {"Order-Token": guests["order_token"]}, sees=frozenset({"a guest's"})),
        Caller("a guest with a token of nothing", {"Order-Token": "0" * 32}),
        Caller("checkout", {"Authorization": f"Bearer {minter.token()}"}, service=True),
        Caller("Ada, too late", {"Authorization": f"Bearer {keys.token(ada, *ROLES, seconds=-60)}"}, broken=True),
    ]
    yield made


async def _saved_method(shopper: Shopper, url: str, headers: Mapping[str, str]) -> str:
    page = await shopper.call("POST", f"{url}/methods", {}, **headers, **{"Idempotency-Key": secrets.token_hex(12)})
    data = {"number": "4242424242424242", "method": "card", "expiry": "12 / 34"}
    async with shopper.http.post(page.body["url"], data=data, allow_redirects=False) as answer:
        assert answer.status == 303

    async def saved() -> Any:
        return (await shopper.call("GET", f"{url}/methods", **headers)).body["methods"]

    return str((await eventually(saved, what="the saved method"))[0]["id"])


def expected(operation: Operation, caller: Caller, which: str) -> int | None:  # noqa: PLR0911 - a line for each rule
    """The refusal that the declaration promises; None when the caller is let in.

    A caller is let in by what he shows if the operation takes it. What does not verify is never overlooked.
    """
    schemes = {credential.scheme for credential in operation.callers}
    takes_bearers = bool(schemes & {PEOPLE, SERVICE_TOKEN})
    wrong_kind = caller.broken or caller.service is (PEOPLE in schemes)
    shows_a_bearer = "Authorization" in caller.headers
    if takes_bearers and shows_a_bearer and wrong_kind:
        return 401
    if operation.roles:
        if not shows_a_bearer:
            return 401
        if not caller.service and not (caller.roles or frozenset()) & set(operation.roles):
            return 403
        return 404 if "method_id" in operation.template and "method" not in caller.sees else None
    if ANYONE in operation.callers:
        return None
    if "order_id" in operation.template:
        return None if which in caller.sees else 404
    return STRANGERS[operation.id]


def asked(operation: Operation) -> Iterator[str]:
    """The orders that are asked for."""
    yield from ("adas", "a guest's", "none") if "order_id" in operation.template else ("none",)


@pytest.mark.parametrize("service", SERVICES)
async def test_every_caller_is_told_what_the_operation_declares(world: World, service: str) -> None:
    operations = sorted(apis()[service].operations(), key=lambda one: one.method == "DELETE")  # what takes away, last
    wrong, unauthorised = [], set()

    for operation, caller in itertools.product(operations, world.callers):
        for which in asked(operation):
            answer = await world.ask(service, operation, caller, which)
            promised = expected(operation, caller, which)
            let_in = LOWEST <= answer.status <= HIGHEST and answer.status not in (401, 403)
            if not (let_in if promised is None else answer.status == promised):
                wrong.append(f"{operation.id}, {caller.name}, {which}: {answer.status}, not {promised or 'let in'}")
            wrong += faults(service, operation.method, operation.template, answer)
            if answer.status == 401:
                told = {name: value for name, value in answer.body.items() if name != "request_id"}
                unauthorised.add(str(sorted(told.items())))

    assert wrong == []
    assert len(unauthorised) <= 1


@pytest.mark.parametrize("service", SERVICES)
async def test_a_method_that_is_not_declared_is_refused_with_those_that_are(world: World, service: str) -> None:
    deployment, by_path = world.shopper.deployment, dict[str, set[str]]()
    for section in apis()[service].inside:
        for operation in section.operations:
            by_path.setdefault(operation.template, set()).add(operation.method)

    for template, methods in by_path.items():
        path = template.format_map(world.variables("none"))
        answer = await world.shopper.call("TRACE", deployment.internal_url(service) + path)
        assert (answer.status, answer.body["code"]) == (405, "method_not_allowed"), template
        assert methods <= set(answer.headers["Allow"].split(",")), template
