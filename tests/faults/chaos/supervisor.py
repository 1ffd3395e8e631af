"""A run: faults while people buy, then everything is healed and must come to rest with every predicate holding."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from operations.audit import Report, Verdict
from payments_shared.contracts.catalog import SERVICES
from sandbox.services.resolver import private_servers
from tests.faults.chaos import wanted
from tests.faults.chaos.buyers import Account, Instructions
from tests.faults.chaos.crowd import Crowd
from tests.faults.chaos.plan import Fault, links, plan
from tests.faults.chaos.safety import Safety, rest
from tests.faults.chaos.stage import NoEffect, Stage
from tests.faults.chaos.strikes import strike
from tests.faults.chaos.verdict import orders_due, unproved

WORK_SECONDS: Final = 15.0  # to find work in flight before a fault
CLOSING_SECONDS: Final = 120.0
SHOWN_MAX: Final = 10
UNLIMITED: Final = 999_999_999_999
MISSED_SECONDS: Final = 660  # a webhook that has not come after ten minutes is asked for
EXPIRY_SECONDS: Final = 3_700  # what nobody paid for ends an hour after it was placed

# Rows of these are goods held, open orders and unfinished keys, of which none need be left at rest.
EMPTY_AT_REST: Final = {
    "I10",
    "I31",
    "I32",
    "I37",
    "I39",
    "I40",
    "I43",
    "I50",
}  # nobody in the crowd has store credit, downloads, or a promotion code

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """The seed of all that is drawn, seconds with faults, buyers a second, and seconds until rest at most."""

    seed: int
    duration: float
    rate: float
    rest: float


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that took effect: when it began and ended, what it struck, and what was in flight."""

    fault: Fault
    began: float
    ended: float
    effect: str
    in_flight: dict[str, int]


@dataclass(slots=True)
class Run:
    """What happened. `failures` is empty when all went as it must."""

    options: Options
    struck: list[Struck] = field(default_factory=list)
    late: list[Fault] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    seconds: float = 0.0
    closing_seconds: float = 0.0
    rest_seconds: float = 0.0
    samples: int = 0
    samples_missed: int = 0
    always: int = 0
    report: Report | None = None
    differences: int = 0
    dead_letters: int = 0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    database_errors: dict[str, int] = field(default_factory=dict)
    versions: str = ""
    logs: Path | None = None


async def run(options: Options, *, say: Say) -> Run:
    """One run on servers of its own."""
    made = Run(options)
    with private_servers(say=say) as servers:
        async with Stage.on(servers, links(options.seed), say=say) as stage:
            await _open_shop(stage)
            made.versions = await _versions(stage)
            front, stripe = stage.deployment.front_door_url, stage.deployment.stripe_url
            told = Instructions(front, stripe, options.rate, options.seed, stage.staff())
            async with Crowd.of(told) as crowd:
                supervision = Supervision(made, stage, crowd, say)
                try:
                    await supervision.safety()
                    await supervision.liveness()
                except Exception as error:  # what was seen until then is reported all the same
                    made.failures.append(f"{type(error).__name__}: {error}")
                finally:
                    made.failures += [f"died: {death}" for death in stage.deaths]
                    made.failures += _unproved(made)
                    made.database_errors = stage.database_errors()
                    if made.failures:
                        made.logs = _kept(stage.deployment.folder, stage.postgres.home)
    return made


def _unproved(made: Run) -> list[str]:
    return unproved(
        taken=made.samples,
        missed=made.samples_missed,
        predicates=made.always,
        struck=len(made.struck),
        followed=made.account.followed,
        due=orders_due(made.options.duration, made.options.rate),
    )


async def _versions(stage: Stage) -> str:
    async with stage.owner() as owner:
        postgres = await owner.fetchval("SHOW server_version")
    overview: Any = await asyncio.to_thread(stage.broker.management, "GET", "/api/overview")
    return f"PostgreSQL {postgres}, RabbitMQ {overview['rabbitmq_version']}, Erlang {overview['erlang_version']}"


def _kept(*folders: Path) -> Path:
    kept = Path(tempfile.mkdtemp(prefix="chaos-logs-"))
    for folder in folders:
        for log in folder.glob("*.log"):
            shutil.copy(log, kept)
    return kept


async def _open_shop(stage: Stage) -> None:
    for sku, prices in {**wanted.PRICES, wanted.SCARCE: wanted.SCARCE_PRICES}.items():
        await stage.admin("PUT", "checkout", f"/admin/products/{sku}", {"name": sku.title(), "prices": prices})
        total = wanted.SCARCE_STOCK if sku == wanted.SCARCE else wanted.STOCK
        await stage.admin("PUT", "inventory", f"/admin/stock/{sku}", {"total": total})
    for code, uses in ((wanted.COUPON, 1_000_000), (wanted.RARE_COUPON, wanted.RARE_COUPON_USES)):
        coupon = {"percent_off": wanted.PERCENT_OFF, "max_redemptions": uses, "per_customer": wanted.USES_EACH}
        await stage.admin("PUT", "checkout", f"/admin/coupons/{code}", coupon)
    currencies = dict.fromkeys(wanted.CURRENCIES, wanted.REFUND_LIMIT)
    wide = dict.fromkeys(wanted.CURRENCIES, UNLIMITED)
    limits = {"per_refund": currencies, "per_operator_day": wide, "per_customer_month": wide, "refund_warned_up_to": {}}
    others: dict[str, object] = {"window_days": None, "final_sale": [], "second_person_score": 60}
    rules = {"version": 0, "reason": "Chaos.", **others, **limits}
    await stage.admin("PUT", "refunds", "/admin/refund-rules", rules)


@dataclass(slots=True)
class Supervision:
    """The two phases of a run. `taken` keeps faults of the same thing apart."""

    made: Run
    stage: Stage
    crowd: Crowd
    say: Say
    started: float = field(default_factory=time.monotonic)
    taken: "defaultdict[str, asyncio.Lock]" = field(default_factory=lambda: defaultdict(asyncio.Lock))

    # -- first: whatever happens, nothing is ever wrong --------------------------------------------------------------

    async def safety(self) -> None:
        """Faults, with the predicates that always hold looked at meanwhile."""
        made = self.made
        safety = Safety(self.stage)
        watching = asyncio.create_task(safety.watch())
        faults = plan(made.options.seed, made.options.duration)
        strikes = [asyncio.create_task(self._one(fault)) for fault in faults]
        try:
            await asyncio.sleep(made.options.duration)
            self.stage.healing.set()
            for found in await asyncio.gather(*strikes, return_exceptions=True):
                if isinstance(found, BaseException):
                    made.failures.append(f"{type(found).__name__}: {found}")
        finally:
            made.seconds = time.monotonic() - self.started
            made.cpu_seconds = self._cost()
            watching.cancel()
            (ended,) = await asyncio.gather(watching, return_exceptions=True)
            if isinstance(ended, Exception):
                made.failures.append(f"the samples ended: {type(ended).__name__}: {ended}")
        made.samples, made.samples_missed, made.always = safety.taken, safety.missed, safety.predicates
        made.failures += [f"violated under way: {line}" for line in safety.violated]
        self.say(f"{made.samples} samples, {safety.seconds / max(1, made.samples):.2f} s each")

    def _cost(self) -> dict[str, float]:
        ours = {"supervisor": time.process_time(), "proxies": self.stage.network.cpu_seconds}
        return {**self.stage.cpu_seconds, "buyers": self.crowd.cpu_seconds, **ours}

    async def _one(self, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, self.started + fault.at - time.monotonic()))
        async with contextlib.AsyncExitStack() as mine:
            for name in fault.takes:
                await mine.enter_async_context(self.taken[name])
            if self.stage.healing.is_set():
                self.made.late.append(fault)
                return
            work = await self._work(fault)
            began = time.monotonic() - self.started
            effect = await strike(self.stage, fault)
            struck = Struck(fault, began, time.monotonic() - self.started, effect, work)
        self.made.struck.append(struck)
        self.say(f"{began:5.1f} to {struck.ended:5.1f} s  {fault}: {effect}; in flight {work}")

    async def _work(self, fault: Fault) -> dict[str, int]:
        """What is in flight, as soon as anything is.

        Raises:
            NoEffect: nothing is, and the fault would prove nothing.
        """
        deadline = time.monotonic() + WORK_SECONDS
        while not sum((work := {"buyers": self.crowd.at_work, **await self.stage.in_flight()}).values()):
            if time.monotonic() > deadline:
                raise NoEffect(f"nothing in flight before {fault}")
            await asyncio.sleep(0.1)
        return work

    # -- then: everything is healed, and comes to rest -----------------------------------------------------------------

    async def liveness(self) -> None:
        """Heal, let lost webhooks be missed, serve the last buyer, let an hour go by, and wait until every predicate
        holds. Whoever wants his money back waits for his purchase to be known, of which every webhook may be lost."""
        made, stage = self.made, self.stage
        healed = time.monotonic()
        await stage.stripe("DELETE", "/_sim/faults")
        await stage.stripe("POST", "/_sim/chaos", {})
        await asyncio.to_thread(stage.deployment.wait_ready, *SERVICES)
        await _let_time_pass(stage, MISSED_SECONDS)
        account = await self.crowd.close(within=CLOSING_SECONDS)
        made.closing_seconds = time.monotonic() - healed
        if account is None:
            made.account = Account(begun=self.crowd.begun, done=self.crowd.done)
            made.failures.append(f"{self.crowd.at_work} buyers wait {CLOSING_SECONDS:.0f} s after everything is up")
            return
        made.account = account
        made.failures += [f"a buyer saw: {each}" for each in account.wrong]
        self.say(f"healed; the last buyer was served after {made.closing_seconds:.1f} s")
        await _let_time_pass(stage, EXPIRY_SECONDS)
        made.report, seconds = await rest(stage, within=made.options.rest, say=self.say)
        made.rest_seconds = made.closing_seconds + seconds
        made.failures += [f"violated at rest: {line}" for line in made.report.lines() if "violations" in line]
        if made.rest_seconds > made.options.rest:
            made.failures.append(f"at rest {made.rest_seconds:.0f} s after everything was healed")
        made.failures += [f"nothing examined: {name}" for name in _unexamined(made.report)]
        await self._reconcile()

    async def _reconcile(self) -> None:
        made = self.made
        differences = await self.crowd.reconcile()
        made.differences = len(differences)
        made.failures += [f"not what its buyer was told: {each}" for each in differences[:SHOWN_MAX]]
        async with self.stage.owner() as owner:
            rows = await owner.fetch("SELECT service, type, exception_message FROM operations.dead_letters")
        made.dead_letters = len(rows)
        made.failures += [f"dead letter: {tuple(row)}" for row in rows[:SHOWN_MAX]]


def _unexamined(report: Report) -> list[str]:
    """Predicates that hold over no rows at all or were not run, which proves nothing; but there is no ledger yet."""
    ran = [finding for finding in report.findings if finding.predicate.needs != "ledger"]
    empty = [
        finding.predicate.name for finding in ran if finding.verdict is not Verdict.VIOLATED and not finding.examined
    ]
    return [name for name in empty if name[:3] not in EMPTY_AT_REST]


async def _let_time_pass(stage: Stage, seconds: int) -> None:
    """So much time goes by for the business and for Stripe."""
    async with stage.owner() as owner:
        statement = "UPDATE payments.business_clock SET ahead = ahead + make_interval(secs => $1)"
        await owner.execute(statement, float(seconds))
    await stage.stripe("POST", "/_sim/clock", {"advance_seconds": seconds})
