"""What a run says of itself: on the screen, and as the evidence that is kept."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from operations.audit import Verdict
from tests.faults.chaos.plan import Kind
from tests.faults.chaos.supervisor import Options, Run, Struck
from tests.faults.chaos.verdict import orders_due

NOT_DRAWN: Final = (
    "The seed draws the faults, their targets, their times and the purchases. It does not fix when a process reaches"
    " which line, which requests a fault at Stripe or in the network falls on, nor ids and ports."
)


def lines(run: Run, facts: Sequence[str]) -> list[str]:
    """The whole report, its last line the verdict."""
    return [*facts, *_load(run), "", *_faults(run), "", *_audit(run), "", *_cost(run), "", *_verdict(run)]


def _load(run: Run) -> Iterator[str]:
    account, options = run.account, run.options
    yield f"seed      {options.seed}; {NOT_DRAWN}"
    yield f"servers   {run.versions}"
    yield (
        f"load      {account.begun} buyers in {run.seconds:.0f} s, {account.begun / max(run.seconds, 1):.1f}/s of"
        f" {options.rate:g}/s wanted; {account.followed} orders placed and followed to their end, at least"
        f" {orders_due(options.duration, options.rate)} due"
    )
    yield f"outcomes  {_listed(account.outcomes)}"
    yield f"answers   {_listed(account.answers)}"
    yield f"then      {_listed(account.afterwards)}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1])) or "none"


def _faults(run: Run) -> Iterator[str]:
    by_kind: defaultdict[Kind, list[Struck]] = defaultdict(list)
    for struck in run.struck:
        by_kind[struck.fault.kind].append(struck)
    yield f"faults    {len(run.struck)} struck, of {len(by_kind)} kinds; in flight when they struck, at least and at most"
    for kind, strikes in sorted(by_kind.items(), key=lambda pair: list(Kind).index(pair[0])):
        work = [sum(each.in_flight.values()) for each in strikes]
        whom = ", ".join(each.fault.whom for each in strikes)
        yield f"  {kind:<40} {len(strikes):>2}  in flight {min(work):>4} to {max(work):>4}  {whom}"
    yield "timeline  seconds, fault, what it struck, what was in flight"
    for each in sorted(run.struck, key=lambda one: one.began):
        flying = ", ".join(f"{name} {count}" for name, count in each.in_flight.items() if count)
        yield f"  {each.began:6.1f} to {each.ended:6.1f}  {each.fault}: {each.effect}; {flying}"
    for late in run.late:
        yield f"  not struck, since its turn came after the end: {late}"


def _audit(run: Run) -> Iterator[str]:
    yield (
        f"under way {run.samples} samples of {run.always} predicates, {run.samples_missed} more with the database away;"
        f" {'violated' if any('under way' in each for each in run.failures) else 'none violated'}"
    )
    if run.report is None:
        yield "at rest   never reached"
        return
    held = [finding for finding in run.report.findings if finding.verdict is Verdict.HOLDS]
    rows = sum(finding.examined for finding in held)
    yield f"at rest   {run.rest_seconds:.1f} s after all was healed, the last buyer served after {run.closing_seconds:.1f} s"
    yield (
        f"audit     {len(held)} predicates hold over {rows} rows, {len(run.report.violated)} violated,"
        f" {len(run.report.findings) - len(held) - len(run.report.violated)} not run"
    )
    yield from (f"  {line}" for line in run.report.lines())
    yield f"buyers    {run.differences} orders differ from what their buyers did; dead letters {run.dead_letters}"


def _cost(run: Run) -> Iterator[str]:
    yield f"postgres  errors: {_listed(run.database_errors)}"
    shares = {name: used / max(run.seconds, 1) for name, used in run.cpu_seconds.items()}
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])
    yield "cpu       " + ", ".join(f"{name} {share:.0%}" for name, share in ranked) + " of a core, while faults struck"
    yield f"binds     {sum(shares.values()):.1f} of {os.cpu_count()} cores together"


def _verdict(run: Run) -> Iterator[str]:
    yield from (f"FAILED    {each}" for each in run.failures)
    if run.logs is not None:
        yield f"logs      {run.logs}"
    yield f"replay    {replay(run.options)}"
    yield "verdict   failed" if run.failures else "verdict   nothing lost, nothing twice"


def replay(options: Options) -> str:
    """The command that runs the same faults again."""
    return f"make chaos SEED={options.seed} DURATION={options.duration:g} RATE={options.rate:g}"
