"""Mistakes that would cost money or messages, made on purpose: each is a change of one place, and a test that sees it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `file`, the only place that reads `old` reads `new`; `test` must fail. `note` says what stands for what."""

    name: str
    mistake: str
    file: str
    old: str
    new: str
    test: str
    note: str = ""

    def applied_to(self, text: str) -> str:
        """The file's text with the mistake in it.

        Raises:
            ValueError: the place is not there, or not the only one.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has the place {text.count(self.old)} times")
        return text.replace(self.old, self.new)


_SHARED: Final = "shared/src/payments_shared"
_MESSAGING: Final = f"{_SHARED}/messaging"

MUTANTS: Final = (
    Mutant(
        "M1", "drop the deduplication", f"{_MESSAGING}/inbox.py",
        'return {row["message_id"] for row in rows}', "return {envelope.id for envelope in envelopes}",
        "tests/shared/test_once.py::test_copies_in_one_batch_and_in_several_take_effect_once",
    ),
    Mutant(
        "M2", "`<` for `<=` in the check of a refund", "services/refunds/src/refunds/decide/owing.py",
        "if amount <= 0:", "if amount < 0:",
        "tests/refunds/test_decide.py::test_what_goes_back_is_never_more_than_was_taken",
    ),
    Mutant(
        "M3", "acknowledge before the commit", f"{_MESSAGING}/consumer.py",
        "                outcomes = await self._handled_together(batch)\n",
        "                for one in batch:\n"
        "                    await self._settler.settle(\n"
        "                        one.delivery, lambda d: d.channel.basic_ack(d.tag, wait=False)\n"
        "                    )\n"
        "                outcomes = await self._handled_together(batch)\n",
        "tests/shared/test_once.py::test_a_process_that_dies_before_its_commit_hears_the_message_again",
    ),
    Mutant(
        "M4", "publish before the commit", f"{_MESSAGING}/outbox.py",
        '                await tx.flush()\n                failpoint("before_commit")\n',
        "                async with acquire(self.pool) as early:\n"
        "                    await append(early, tx.rows)\n"
        '                failpoint("before_commit")\n',
        "tests/shared/test_once.py::test_what_fails_at_the_commit_itself_is_not_said",
        "the outbox row commits on a way of its own, and the relay publishes it",
    ),
    Mutant(
        "M5", "skip FOR UPDATE", "services/inventory/src/inventory/sql/queries.sql",
        "FOR UPDATE OF s", "",
        "tests/inventory/test_races.py::test_the_last_unit_is_sold_once_in_every_round",
    ),
    Mutant(
        "M6", "ignore payment_status", "services/checkout/src/checkout/model/facts.py",
        'self.payment_status == "paid" and self.status == "complete"', 'self.status == "complete"',
        "tests/checkout/test_order_fold.py::test_an_unpaid_complete_session_is_not_paid",
    ),
    Mutant(
        "M7", "money as a float", f"{_SHARED}/money.py",
        "parts = [total_minor * weight // whole for weight in weights]",
        "parts = [int(total_minor * (weight / whole)) for weight in weights]",
        "tests/shared/test_money.py::test_an_allocation_loses_nothing_and_is_nobodys_favourite",
    ),
    Mutant(
        "M8", "the wrong exponent of a currency", f"{_SHARED}/money.py",
        "    if currency in THREE_DECIMAL:\n        return 3\n", "    if currency in THREE_DECIMAL:\n        return 2\n",
        "tests/shared/test_money.py::test_minor_units_have_the_decimals_that_stripe_counts",
    ),
    Mutant(
        "M9", "approve one's own refund", "services/refunds/src/refunds/decide/approving.py",
        "if is_same(request.requester, person):", "if request.requester == person:",
        "tests/refunds/test_four_eyes.py::test_nobody_approves_what_he_asked_for_by_whatever_name",
        "the database has the rule twice, so that no single mistake there lets anybody through",
    ),
    Mutant(
        "M10", "a tolerance to one side", "services/webhook-ingest/src/webhook_ingest/decide.py",
        "if abs(now.timestamp() - int(match[1])) > TOLERANCE_SECONDS:",
        "if now.timestamp() - int(match[1]) > TOLERANCE_SECONDS:",
        "tests/webhook_ingest/test_decide.py::test_a_timestamp_more_than_300_seconds_away_is_refused_on_both_sides",
    ),
    Mutant(
        "M11", "on_return_raises=False", f"{_MESSAGING}/publisher.py",
        "publisher_confirms=True, on_return_raises=True", "publisher_confirms=True, on_return_raises=False",
        "tests/shared/test_pipelined_publish.py::test_a_message_that_no_queue_takes_is_told_apart_from_its_neighbours",
    ),
    Mutant(
        "M12", "no at-least-once dead-lettering", f"{_MESSAGING}/topology.py",
        '        "x-dead-letter-routing-key": service,\n        "x-dead-letter-strategy": "at-least-once",\n',
        '        "x-dead-letter-routing-key": service,\n',
        "tests/shared/test_tiers.py::test_no_queue_may_lose_a_message_on_its_way_to_another",
    ),
    Mutant(
        "M13", "apply what is older than the inbox", f"{_MESSAGING}/inbox.py",
        "return day >= today - timedelta(days=REMEMBERED_DAYS)", "return True",
        "tests/shared/test_retention.py::"
        "test_a_message_older_than_the_inbox_is_a_dead_letter_and_goes_back_once_by_a_persons_word",
    ),
    Mutant(
        "M14", "let an older snapshot overwrite a newer", f"{_MESSAGING}/inbox.py",
        "    if envelope.sequence is None:\n        return False\n", "    if envelope.sequence != -1:\n        return False\n",
        "tests/shared/test_snapshots.py::"
        "test_an_older_snapshot_is_recorded_as_stale_and_its_handler_never_sees_it",
    ),
    Mutant(
        "M15", "spend attempts in an outage", f"{_MESSAGING}/breaker.py",
        "                if self.is_open:\n                    return True\n", "",
        "tests/shared/test_breaker.py::test_a_queue_that_rests_keeps_what_it_has_and_takes_no_more",
    ),
    Mutant(
        "M16", "copy the broker's headers", f"{_MESSAGING}/recoverability.py",
        "return self._replay | {ATTEMPT:", "return dict(self.headers) | {ATTEMPT:",
        "tests/shared/test_tiers.py::"
        "test_a_message_that_died_by_the_brokers_count_survives_a_replay_and_a_tier_after_it",
    ),
)  # fmt: skip
