"""Whatever buyers, shops, banks and the clock do, in whatever order, the money adds up and what has ended stays so."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from sandbox.stripe import objects
from sandbox.stripe.errors import StripeError
from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json, Store
from sandbox.stripe.transitions import disputes, due, intents, refunds, sessions
from tests.support.stripe_spec import validate_event

CARDS: Final = (
    "4242424242424242", "4000000000000002", "4000000000009995", "4000002500003155", "4000000000007726",
    "4000000000005126", "4000000000000259",
)  # fmt: skip
IBANS: Final = ("AT611904300234573201", "IT60X0542811101000000123456")
TERMINAL: Final = {
    "checkout.session": {"complete", "expired"},
    "payment_intent": {"succeeded", "canceled"},
    "charge": {"failed", "succeeded"},
    "refund": {"failed", "canceled"},
    "dispute": {"won", "warning_closed"},  # what is lost a bank may still give back
}
PARTS: Final = (1, 20, 30, 49, 50, 51, 60, 61)  # of amounts from 50 to 60: often just all, or one too many
SPANS: Final = (1, 60, 2_000, 4_000, 90_000, 6 * 86_400)


class Stripe(RuleBasedStateMachine):
    """Steps that Stripe refuses are steps too: they must change nothing that counts."""

    some_sessions = Bundle("some_sessions")
    some_intents = Bundle("some_intents")
    some_refunds = Bundle("some_refunds")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="simulator-")
        self.machine = Machine(Store(Path(self.folder.name) / "stripe.sqlite"), "http://127.0.0.1:1")
        self.ended: dict[str, str] = {}

    @property
    def store(self) -> Store:
        return self.machine.store

    # -- steps -------------------------------------------------------------------------------------------------------

    @rule(target=some_sessions, amount=st.integers(50, 60))
    def open_session(self, amount: int) -> str:
        made = objects.session(
            self.store, "http://127.0.0.1:1", amount_subtotal=amount, amount_total=amount, currency="usd"
        )
        self.store.put("_session_request", {"id": "req_" + made["id"], "line_items": [], "intent": {"metadata": {}}})
        self.machine.schedule("expire", made["id"], made["expires_at"])
        return str(made["id"])

    @rule(target=some_intents, amount=st.integers(50, 60), manual=st.booleans())
    def open_intent(self, amount: int, manual: bool) -> str:
        method = "manual" if manual else "automatic_async"
        return str(objects.payment_intent(self.store, amount=amount, currency="usd", capture_method=method)["id"])

    @rule(
        target=some_intents,
        session=some_sessions,
        number=st.sampled_from(CARDS + IBANS),
        challenged=st.none() | st.booleans(),
    )
    def pay(self, session: str, number: str, challenged: bool | None) -> Any:  # Any: hypothesis: an id, or none
        found = self.store.objects[session]
        kind = "card" if number in CARDS else "sepa_debit"
        self._try(sessions.pay, found, number, kind=kind, name="Ada", email=None, challenged=challenged)
        return str(found["payment_intent"]) if found["payment_intent"] else multiple()

    @rule(intent=some_intents, number=st.sampled_from(CARDS + IBANS))
    def attempt(self, intent: str, number: str) -> None:
        found = self.store.find("payment_intent", intent)
        if found is not None and sessions.owner(self.machine, found) is None:
            kind = "card" if number in CARDS else "sepa_debit"
            method = objects.payment_method(self.store, number, kind=kind)
            if found["status"] in intents.ATTEMPTABLE:
                found["payment_method"] = method["id"]
            self._try(intents.attempt, found, method, number)

    @rule(intent=some_intents, amount=st.none() | st.sampled_from(PARTS))
    def capture(self, intent: str, amount: int | None) -> None:
        if found := self.store.find("payment_intent", intent):
            self._try(intents.capture, found, amount)

    @rule(intent=some_intents)
    def cancel(self, intent: str) -> None:
        if found := self.store.find("payment_intent", intent):
            session = sessions.owner(self.machine, found)
            if session is None or session["status"] != "open":
                self._try(intents.cancel, found, reason=None)

    @rule(session=consumes(some_sessions))
    def expire(self, session: str) -> None:
        if self.store.objects[session]["status"] == "open":
            sessions.expire(self.machine, self.store.objects[session])

    @rule(intent=some_intents, success=st.booleans())
    def settle(self, intent: str, success: bool) -> None:
        if found := self.store.find("payment_intent", intent):
            self._try(sessions.settle, found, success=success)

    @rule(target=some_refunds, intent=some_intents, amount=st.none() | st.sampled_from(PARTS))
    def refund(self, intent: str, amount: int | None) -> Any:  # Any: hypothesis: an id, or none
        found = self.store.find("payment_intent", intent)
        if found is None or found["latest_charge"] is None:
            return multiple()
        taken = self.store.objects[found["latest_charge"]]
        made = self._try(refunds.create, taken, amount, metadata={}, reason=None)
        return str(made["id"]) if made else multiple()

    @rule(intent=some_intents, over=st.sampled_from((0, 1)))
    def refund_the_rest(self, intent: str, over: int) -> None:
        found = self.store.find("payment_intent", intent)
        if found is not None and found["status"] == "succeeded":
            taken = self.store.objects[found["latest_charge"]]
            rest = taken["amount_captured"] - taken["amount_refunded"]
            self._try(refunds.create, taken, rest + over, metadata={}, reason=None)

    @rule(refund=some_refunds, status=st.sampled_from(sorted(refunds.ARROWS)))
    def change_refund(self, refund: str, status: str) -> None:
        if found := self.store.find("refund", refund):
            self._try(refunds.change, found, status)

    @rule(intent=some_intents, inquiry=st.booleans())
    def dispute(self, intent: str, inquiry: bool) -> None:
        found = self.store.find("payment_intent", intent)
        if found is not None and found["latest_charge"]:
            self._try(disputes.create, self.store.objects[found["latest_charge"]], "fraudulent", inquiry=inquiry)

    @rule()
    def escalate(self) -> None:
        for found in self.store.all("dispute"):
            self._try(disputes.escalate, found)

    @rule(won=st.booleans())
    def decide(self, won: bool) -> None:
        for found in self.store.all("dispute"):
            self._try(disputes.close, found, won=won)

    @rule(seconds=st.sampled_from(SPANS))
    def let_time_pass(self, seconds: int) -> None:
        self.store.commit()
        self.store.advance(seconds)
        due.run(self.machine)

    def _try(self, step: Any, *args: Any, **kwargs: Any) -> Json | None:  # Any: one of the steps above
        try:
            made: Json | None = step(self.machine, *args, **kwargs)
        except StripeError:
            return None
        return made

    # -- what must always hold ---------------------------------------------------------------------------------------

    @invariant()
    def refunds_stay_within_what_was_captured(self) -> None:
        for taken in self.store.all("charge"):
            rows = [row for row in self.store.all("refund") if row["charge"] == taken["id"]]
            back = sum(row["amount"] for row in rows if row["status"] not in ("failed", "canceled"))
            assert back == taken["amount_refunded"] <= taken["amount_captured"] <= taken["amount"]
            assert taken["refunded"] == (back == taken["amount_captured"] > 0)

    @invariant()
    def an_intent_has_at_most_one_successful_charge(self) -> None:
        good = Counter(taken["payment_intent"] for taken in self.store.all("charge") if taken["status"] == "succeeded")
        for intent in self.store.all("payment_intent"):
            assert good[intent["id"]] == (intent["status"] in ("succeeded", "requires_capture")) or (
                intent["status"] == "canceled" and good[intent["id"]] == 1 and intent["amount_received"] == 0
            )

    @invariant()
    def what_was_received_is_what_was_captured(self) -> None:
        captured: Counter[str] = Counter()
        for taken in self.store.all("charge"):
            captured[taken["payment_intent"]] += taken["amount_captured"]
        for intent in self.store.all("payment_intent"):
            assert intent["amount_received"] == captured[intent["id"]]

    @invariant()
    def a_session_is_paid_when_its_intent_is(self) -> None:
        for session in self.store.all("checkout.session"):
            intent = self.store.objects.get(str(session["payment_intent"]))
            succeeded = intent is not None and intent["status"] == "succeeded"
            assert (session["payment_status"] == "paid") == succeeded
            assert (session["url"] is not None) == (session["status"] == "open")

    @invariant()
    def what_has_ended_stays_as_it_is(self) -> None:
        for kind, final in TERMINAL.items():
            for found in self.store.all(kind):
                before = self.ended.get(found["id"])
                assert before in (None, found["status"]), f"{kind} went from {before} to {found['status']}"
                if found["status"] in final:
                    self.ended[found["id"]] = found["status"]

    @invariant()
    def a_session_ends_once(self) -> None:
        ends = ("checkout.session.completed", "checkout.session.expired")
        ended = Counter(event["data"]["object"]["id"] for event in self.machine.emitted if event["type"] in ends)
        for session in self.store.all("checkout.session"):
            assert ended[session["id"]] == (session["status"] != "open")

    def teardown(self) -> None:
        for event in self.machine.emitted[:: max(1, len(self.machine.emitted) // 3)]:
            validate_event(event)
        before = {kind: self.store.all(kind) for kind in self.store.kinds}
        self.store.close()
        after = Store(Path(self.folder.name) / "stripe.sqlite")
        assert {kind: after.all(kind) for kind in before} == before
        after.close()
        self.folder.cleanup()


@pytest.mark.timeout(120)
class TestStripe(Stripe.TestCase):  # type: ignore[misc, valid-type]  # made by hypothesis at run time
    """The property test, as pytest finds it."""

    # Not shrunk: a failure prints its steps, and shrinking them takes longer than the test may.
    settings = settings(
        max_examples=100,
        stateful_step_count=40,
        deadline=None,
        phases=(Phase.reuse, Phase.generate),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
