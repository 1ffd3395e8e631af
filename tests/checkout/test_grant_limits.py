"""An administrator gives store credit within limits: with one grant, and within a day, at whichever process he asks;
and to others alone."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Final

import pytest
import pytest_asyncio
from pydantic import ValidationError

from checkout.decide.crediting import check_giver, check_limits
from checkout.model.credit import NOTHING_TO_GIVE, GrantLimits
from checkout.settings import Settings
from payments_shared.errors import Refused
from sandbox.services.deployment import Deployment
from tests.checkout.test_store_credit_rules import a_grant
from tests.support.credit import Holder, gives
from tests.support.instances import another_checkout
from tests.support.shopping import Answer, Json, Shopper

PER_GRANT: Final = 1_000
PER_DAY: Final = 2_500
SETTINGS: Final = {
    "PAYMENTS_CREDIT_PER_GRANT": f"usd={PER_GRANT}, eur={PER_GRANT},jpy={PER_GRANT}",
    "PAYMENTS_CREDIT_PER_ADMIN_DAY": f"usd={PER_DAY}, eur={PER_DAY}",
}
DAY_SECONDS: Final = 86_400

# -- the rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "given", "limits", "refused"),
    [
        (1000, 0, GrantLimits({"usd": 1000}, {"usd": 2500}), None),
        (1001, 0, GrantLimits({"usd": 1000}, {"usd": 2500}), ("over_grant_limit", {"limit_minor": 1000})),
        (1000, 1500, GrantLimits({"usd": 1000}, {"usd": 2500}), None),
        (1000, 1501, GrantLimits({"usd": 1000}, {"usd": 2500}), ("over_daily_limit", {"limit_minor": 2500, "given_minor": 1501})),
        (1, 9000, GrantLimits({"usd": 1000}, {"usd": 2500}), ("over_daily_limit", {"limit_minor": 2500, "given_minor": 9000})),
        (1, 0, GrantLimits({"eur": 1000}, {"eur": 2500}), ("over_grant_limit", {"limit_minor": 0})),
        (1, 0, GrantLimits({"usd": 1000}, {"eur": 2500}), ("over_daily_limit", {"limit_minor": 0, "given_minor": 0})),
        (1, 0, NOTHING_TO_GIVE, ("over_grant_limit", {"limit_minor": 0})),
    ],
)  # fmt: skip
def test_a_limit_may_be_reached_and_not_passed_and_without_one_nothing_is_given(
    amount: int, given: int, limits: GrantLimits, refused: tuple[str, Json] | None
) -> None:
    grant = a_grant("one", amount)

    if refused is None:
        check_limits(grant, given, limits)
        return
    with pytest.raises(Refused) as refusal:
        check_limits(grant, given, limits)

    assert (refusal.value.status, refusal.value.code, refusal.value.extra) == (403, *refused)


@pytest.mark.parametrize(
    ("giver", "giver_email", "account", "account_email", "own"),
    [
        ("ann", None, "ann", None, True),
        (" Ann\u200b", None, "ann", None, True),
        ("ann", "ann@shop.example", "u-17", "Ann+private@shop.example", True),
        ("ann@shop.example", None, "u-17", "ann@shop.example", True),
        ("ann", "ann@shop.example", "ANN@shop.example", None, True),
        ("ann", "ann@shop.example", "ada", "ada@mail.example", False),
        ("ann", "ann@shop.example", "ada", None, False),
        ("ann", None, "ada", None, False),
        ("ann", "ann@shop.example", "u-17", "ann@mail.example", False),
    ],
)
def test_nobody_gives_to_himself_under_any_of_his_names(
    giver: str, giver_email: str | None, account: str, account_email: str | None, own: bool
) -> None:
    grant = replace(a_grant("one", 1000), granted_by=giver, customer_subject=account)

    if not own:
        check_giver(grant, giver_email, account_email)
        return
    with pytest.raises(Refused) as refusal:
        check_giver(grant, giver_email, account_email)

    assert (refusal.value.status, refusal.value.code) == (403, "own_account")


def test_where_nothing_is_set_there_are_limits() -> None:
    per_grant, per_day = (Settings.model_fields[name].default for name in ("credit_per_grant", "credit_per_admin_day"))

    assert per_grant.keys() == per_day.keys() >= {"usd"}
    assert all(0 < per_grant[currency] <= per_day[currency] <= 1_000_000 for currency in per_grant)


@pytest.mark.parametrize("name", ["credit_per_grant", "credit_per_admin_day"])
@pytest.mark.parametrize("odd", ["usd", "usd=-1", "usd=ten", "USD=10", "dollars=10"])
def test_a_limit_that_cannot_be_read_keeps_the_service_from_starting(name: str, odd: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: odd})


# -- at the door -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Office:
    """Two processes of checkout with narrow limits, and a customer who is given something."""

    shopper: Shopper
    urls: tuple[str, str]
    ada: Holder
    administrator: str = field(default_factory=lambda: "admin-" + secrets.token_hex(5))

    async def gives(
        self, amount_minor: int, *, who: str | None = None, email: str | None = None, at: int = 0, **given: object
    ) -> Answer:
        """Somebody, by default the administrator, gives dollars."""
        grant = {
            "customer": self.ada.subject,
            "currency": "usd",
            "amount_minor": amount_minor,
            "reference": "t-" + secrets.token_hex(6),
            **given,
        }
        return await gives(self.shopper, who or self.administrator, grant, at=self.urls[at], email=email)

    async def written(self) -> tuple[int, int]:
        """How many grants the customer has, and how many lines his statement."""
        grants = "SELECT count(*) FROM checkout.store_credit_grants WHERE customer_subject = $1"
        entries = "SELECT count(*) FROM checkout.store_credit_entries WHERE customer_subject = $1"
        subject = self.ada.subject
        return await self.shopper.count(grants, subject), await self.shopper.count(entries, subject)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def urls(deployment: Deployment) -> AsyncIterator[tuple[str, str]]:
    """Where the two processes are."""
    async with (
        another_checkout(deployment, "checkout-giving", **SETTINGS) as one,
        another_checkout(deployment, "checkout-giving-too", **SETTINGS) as other,
    ):
        yield one.internal_url, other.internal_url


@pytest_asyncio.fixture(loop_scope="session")
async def office(shopper: Shopper, urls: tuple[str, str]) -> AsyncIterator[Office]:
    """A customer without credit, and an administrator who gave nothing yet."""
    yield Office(shopper, urls, Holder(shopper))


def told(answer: Answer) -> tuple[int, str, Json]:
    """Status, code and figures of a refusal."""
    figures = {name: value for name, value in answer.body.items() if name.endswith("_minor")}
    return answer.status, answer.body["code"], figures


async def test_nobody_gives_to_an_account_of_his_own_known_by_its_subject_or_by_its_address(office: Office) -> None:
    ada = office.ada
    unknown = await office.gives(1, email=f"{ada.subject}@example.com")
    assert (await ada.person.add()).status == 201
    own = [
        await office.gives(1, who=ada.subject.upper()),
        await office.gives(1, email=f"{ada.subject}+desk@Example.com"),
        await office.gives(1, who=f"{ada.subject}@example.com", at=1),
    ]
    by_another = await office.gives(1, email=f"{office.administrator}@example.com")

    assert (unknown.status, by_another.status) == (201, 201)
    assert [(answer.status, answer.body["code"]) for answer in own] == [(403, "own_account")] * 3
    assert await office.written() == (2, 2)


async def test_nobody_gives_more_with_one_grant(office: Office) -> None:
    over = await office.gives(PER_GRANT + 1)
    others = await office.gives(1, currency="gbp")

    assert told(over) == (403, "over_grant_limit", {"limit_minor": PER_GRANT})
    assert told(others) == (403, "over_grant_limit", {"limit_minor": 0})
    assert await office.written() == (0, 0)
    assert (await office.gives(PER_GRANT)).status == 201
    assert await office.written() == (1, 1)


async def test_a_day_has_its_limit_for_each_administrator_and_currency(office: Office) -> None:
    given = [await office.gives(amount, at=at) for amount, at in ((1000, 0), (1000, 1), (499, 0))]

    over = await office.gives(2, at=1)
    euros = await office.gives(PER_GRANT, currency="eur")
    yen = await office.gives(1, currency="jpy")
    another = await office.gives(PER_GRANT, who="admin-" + secrets.token_hex(5))
    last = await office.gives(1)
    none = await office.gives(1)

    assert [answer.status for answer in given] == [201, 201, 201]
    assert told(over) == (403, "over_daily_limit", {"limit_minor": PER_DAY, "given_minor": 2499})
    assert told(yen) == (403, "over_daily_limit", {"limit_minor": 0, "given_minor": 0})
    assert [answer.status for answer in (euros, another, last)] == [201, 201, 201]
    assert told(none) == (403, "over_daily_limit", {"limit_minor": PER_DAY, "given_minor": PER_DAY})
    assert await office.written() == (6, 6)


async def test_what_was_given_counts_for_twenty_four_hours(office: Office) -> None:
    assert (await office.gives(PER_GRANT)).status == 201
    await office.shopper.advance(DAY_SECONDS / 2)
    assert [(await office.gives(amount)).status for amount in (PER_GRANT, 500)] == [201, 201]

    before = await office.gives(PER_GRANT)
    await office.shopper.advance(DAY_SECONDS / 2 + 1)
    after = await office.gives(PER_GRANT)
    more = await office.gives(1)

    assert told(before)[2]["given_minor"] == PER_DAY
    assert after.status == 201
    assert told(more)[2]["given_minor"] == PER_DAY


async def test_grants_at_once_at_several_processes_stay_within_the_day(office: Office) -> None:
    answers = await asyncio.gather(*(office.gives(500, at=number % 2) for number in range(10)))

    assert Counter(answer.status for answer in answers) == {201: 5, 403: 5}
    assert {answer.body["code"] for answer in answers if answer.status == 403} == {"over_daily_limit"}
    assert await office.written() == (5, 5)
    assert await office.ada.has() == (PER_DAY, 0)


async def test_a_repeat_counts_once_and_is_answered_when_nothing_is_left(office: Office) -> None:
    reference = "ticket-" + secrets.token_hex(5)

    repeats = await asyncio.gather(
        *(office.gives(PER_GRANT, at=number % 2, reference=reference) for number in range(6))
    )
    rest = [await office.gives(amount) for amount in (PER_GRANT, 500)]
    again = await office.gives(PER_GRANT, reference=reference)
    by_another = await office.gives(PER_GRANT, who="admin-" + secrets.token_hex(5), reference=reference)
    other = await office.gives(PER_GRANT + 1, reference=reference)

    assert Counter(answer.status for answer in repeats) == {201: 1, 200: 5}
    assert [answer.status for answer in rest] == [201, 201]
    assert [(answer.status, answer.body["granted_by"]) for answer in (again, by_another)] == [
        (200, office.administrator)
    ] * 2
    assert (other.status, other.body["code"]) == (409, "reference_in_use")
    assert await office.written() == (3, 3)
