"""The eight outages of the rules' own tests, each as it is brought about on a deployment, and as its runbook mends it."""

import asyncio
import json
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from payments_shared.contracts.checkout import OrderHeld
from payments_shared.ids import new_id
from payments_shared.messaging.recoverability import Reason
from sandbox.services.children import clean_environment, spawn
from sandbox.services.deployment import Deployment
from tests.deploy.composed import ROOT
from tests.deploy.outages import OUTAGES, Outage
from tests.faults.broker import fill_disk
from tests.faults.compose import Compose
from tests.faults.poison import DeadLetters, Poison, of_data, undecodable
from tests.faults.printed import Operator
from tests.support.shopping import Shopper, eventually

FINGERPRINT: Final = "a3a6c28a41922807f3a44d6d6844e15bb73e5ff7"  # as the runbook of dead letters has it for an example
NOISE: Final = 40
LOST: Final = 10
_ENDLESS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Stage:
    """A deployment in which people buy, and who is called when something breaks."""

    shopper: Shopper
    compose: Compose
    operator: Operator

    @property
    def deployment(self) -> Deployment:
        return self.shopper.deployment


Act = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Staged:
    """An outage, the alert that must tell of it, and both ways."""

    outage: Outage
    alert: str
    begin: Act
    mend: Act


# -- servers -----------------------------------------------------------------------------------------------------------


async def kill_broker(stage: Stage) -> None:
    broker = stage.deployment.servers.rabbitmq
    assert broker is not None
    await asyncio.to_thread(broker.kill)


async def start_broker(stage: Stage) -> None:
    await stage.operator.follow("broker", "- It does not run")


async def kill_postgres(stage: Stage) -> None:
    postgres = stage.deployment.servers.postgres
    assert postgres is not None
    await asyncio.to_thread(postgres.kill)


async def start_postgres(stage: Stage) -> None:
    await stage.operator.follow("database", "- Down")


async def fill_the_disk(stage: Stage) -> None:
    await fill_disk(stage.deployment.servers)


async def lower_the_limit(stage: Stage) -> None:
    said = await stage.operator.follow("broker", "**Look.**")
    assert "disk" in said.lower()
    await stage.operator.follow("broker", "- Disk")


# -- what services call ------------------------------------------------------------------------------------------------


async def break_stripe(stage: Stage) -> None:
    for method in ("GET", "POST"):
        fault = {"kind": "error_500", "method": method, "path": "/v1/", "count": _ENDLESS}
        await stage.shopper.stripe("POST", "/_sim/faults", fault)


async def wait_for_stripe(stage: Stage) -> None:
    """There is nothing to do but to see that it is so, and to wait until Stripe answers."""
    said = await stage.operator.follow("stripe", "**Look.**")
    assert "payments_stripe_breaker_open 1.0" in said
    await stage.shopper.stripe("DELETE", "/_sim/faults")


async def stop_mail(stage: Stage) -> None:
    await asyncio.to_thread(stage.deployment.stop, "mailbox")


async def start_mail(stage: Stage) -> None:
    said = await stage.operator.follow("consumers", "**Look.**", {"<service>": "notifications"})
    assert 'payments_consumer_paused{queue="notifications.work",reason="smtp"} 1.0' in said
    await stage.operator.follow("consumers", "- It rests")


# -- services ----------------------------------------------------------------------------------------------------------


async def hang(stage: Stage) -> None:
    running = stage.deployment
    await asyncio.to_thread(running.stop, "fulfillment")
    environment = clean_environment(**{**running._service_settings("fulfillment"), **running.extra})
    running.children["fulfillment"] = spawn(
        "fulfillment", [sys.executable, "-m", "tests.faults.stuck"], log=running.folder / "fulfillment.log",
        environment=environment, cwd=ROOT,
    )  # fmt: skip
    await asyncio.to_thread(running.wait_ready, "fulfillment")


async def restart(stage: Stage) -> None:
    said = await stage.operator.follow("consumers", "**Look.**", {"<service>": "fulfillment"})
    assert '"status":"ok"' in said.replace(" ", ""), said
    await stage.operator.follow("consumers", "- It is stuck", {"<service>": "fulfillment"})


async def forget_secret(stage: Stage) -> None:
    stage.compose.write(PAYMENTS_STRIPE_WEBHOOK_SECRET="whsec_" + secrets.token_hex(16))
    await asyncio.to_thread(stage.compose.up, "webhook-ingest", ready=True)


async def add_secret(stage: Stage) -> None:
    said = await stage.operator.follow("webhooks", "**Look.**")
    assert 'payments_webhook_rejected_total{reason="signature"}' in said
    await stage.operator.follow("webhooks", "- All refused", {"whsec_new": stage.deployment.secrets["webhook"]})


# -- messages ----------------------------------------------------------------------------------------------------------


def misspelt() -> Poison:
    """A reason that the contract does not know."""
    data = json.loads(OrderHeld(order_id=new_id(), reason="amount_mismatch").model_dump_json())
    return of_data(OrderHeld.TYPE, {**data, "reason": "amuont_mismatch"}, Reason.UNDECODABLE)


async def poison(stage: Stage) -> None:
    """Three kinds: what fails because of a table that is not there, one message that is misspelt, and noise."""
    await stage.shopper.owner.execute("ALTER TABLE fulfillment.shipments RENAME TO shipments_away")
    letters = [misspelt(), *(undecodable() for _ in range(NOISE))]
    await DeadLetters(stage.shopper, "fulfillment", letters).publish()


async def settle(stage: Stage) -> None:
    """One kind is mended and sent back; what nobody ever said, the message and the noise, is put aside."""
    follow = stage.operator.follow

    async def lost_enough() -> bool:
        return len(await _open(stage, "exhausted")) >= LOST

    await eventually(lost_enough, within=60, what=f"{LOST} messages given up")
    said = await follow("dead-letters", "**Look.**", only="dlq groups")
    (*_, lost) = await _open(stage, "exhausted")
    assert lost["fingerprint"] in said
    looked = {FINGERPRINT: lost["fingerprint"], "<id>": lost["id"], "<ord_…>": lost["correlation_id"]}
    assert "shipments" in await follow("dead-letters", "**Look.**", looked, only="dlq show")

    await stage.shopper.owner.execute("ALTER TABLE fulfillment.shipments_away RENAME TO shipments")
    await _replay_all(stage)
    unreadable = await _open(stage, "undecodable")
    wrong = next(row for row in unreadable if row["type"] == OrderHeld.TYPE)
    noise = next(row for row in unreadable if row["type"] != OrderHeld.TYPE)
    aside = {"<id>": wrong["id"], FINGERPRINT: noise["fingerprint"]}
    await follow("dead-letters", "**Nobody needs it.**", aside)

    async def all_settled() -> bool:
        return not await _open(stage)

    await eventually(all_settled, within=60, what="no dead letter is open")


async def _replay_all(stage: Stage) -> None:
    """Group by group, until what still waited for its last attempt has come as well."""

    async def none_left() -> bool:
        for fingerprint in {row["fingerprint"] for row in await _open(stage, "exhausted", "open")}:
            await stage.operator.follow("dead-letters", "**Do.**", {FINGERPRINT: fingerprint})
        return not await _open(stage, "exhausted")

    await eventually(none_left, within=90, every=2.0, what="what was given up has been replayed")


async def _open(stage: Stage, reason: str = "", status: str = "") -> Sequence[Any]:  # Any: records
    """Dead letters of fulfillment that are not settled."""
    return await stage.shopper.owner.fetch(
        """SELECT id::text, fingerprint, type, correlation_id FROM operations.dead_letters
            WHERE service = 'fulfillment' AND status IN ('open', 'replaying') AND ($1 = '' OR reason = $1)
              AND ($2 = '' OR status = $2) ORDER BY last_failed_at""",
        reason,
        status,
    )


# -- all -----------------------------------------------------------------------------------------------------------------

_ACTS: Final[Mapping[str, tuple[str, Act, Act]]] = {
    "the broker is down": ("BrokerDown", kill_broker, start_broker),
    "PostgreSQL is down": ("DatabaseDown", kill_postgres, start_postgres),
    "Stripe answers with 5xx": ("StripeUnavailable", break_stripe, wait_for_stripe),
    "a consumer is stuck": ("ConsumerStuck", hang, restart),
    "a flood of poison": ("DeadLetterFlood", poison, settle),
    "the webhook's secret is wrong": ("WebhooksAllRefused", forget_secret, add_secret),
    "no mail server answers": ("ConsumerPaused", stop_mail, start_mail),
    "the broker's disk is full": ("BrokerAlarm", fill_the_disk, lower_the_limit),
}
STAGED: Final = tuple(Staged(outage, *_ACTS[outage.name]) for outage in OUTAGES)
