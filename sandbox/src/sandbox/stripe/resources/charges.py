"""Charges, and what becomes of them at the bank: balance transactions and disputes."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import objects, params
from sandbox.stripe.errors import invalid, no_such
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import disputes

FILES: Final = frozenset(
    {
        "cancellation_policy", "customer_communication", "customer_signature", "duplicate_charge_documentation",
        "receipt", "refund_policy", "service_documentation", "shipping_documentation", "uncategorized_file",
    }
)  # fmt: skip
TEXT_MAX: Final = 20_000
TEXTS_MAX: Final = 150_000  # characters of all texts


@dataclass(frozen=True, slots=True)
class Charges:
    """Charges, balance transactions and disputes."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("GET", "charges", self.listed),
            ("GET", "charges/{id}", self.one),
            ("GET", "balance_transactions", self.balance_transactions),
            ("GET", "balance_transactions/{id}", self.balance_transaction),
            ("GET", "disputes", self.disputes),
            ("GET", "disputes/{id}", self.dispute),
            ("POST", "disputes/{id}", self.submit),
            ("POST", "disputes/{id}/close", self.close),
        ]

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("charge", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "payment_intent", "customer"))
        return page(params.matching(self.machine.store.all("charge"), given), given, "/v1/charges")

    def balance_transaction(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("balance_transaction", request.match_info["id"])

    def balance_transactions(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "source", "type", "currency"))
        rows = params.matching(self.machine.store.all("balance_transaction"), given)
        return page(rows, given, "/v1/balance_transactions")

    def dispute(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("dispute", request.match_info["id"])

    def disputes(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "charge", "payment_intent"))
        return page(params.matching(self.machine.store.all("dispute"), given), given, "/v1/disputes")

    def submit(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("evidence", "metadata", "submit"))
        dispute = self.dispute(request, given)
        evidence = params.group(given, "evidence")
        self._check(evidence)
        disputes.check_awaited(self.machine, dispute)
        params.change_texts(dispute, given)
        dispute["evidence"] = {**dispute["evidence"], **{name: text or None for name, text in evidence.items()}}
        if not params.flag(given.get("submit", True)):
            return disputes.stage(self.machine, dispute)
        disputes.submit(self.machine, dispute)
        # The evidence texts that win and lose test disputes.
        match evidence.get("uncategorized_text"):
            case "winning_evidence":
                disputes.close(self.machine, dispute, won=True)
            case "losing_evidence":
                disputes.close(self.machine, dispute, won=False)
        return dispute

    def _check(self, evidence: Given) -> None:
        """Refuse what no bank is sent."""
        params.only(evidence, (*objects.EVIDENCE, "enhanced_evidence"), "evidence")
        for name in FILES & evidence.keys():
            if evidence[name] and self.machine.store.find("file", evidence[name]) is None:
                raise no_such("file upload", evidence[name], param=f"evidence[{name}]", status=400)
        texts = {name: text for name, text in evidence.items() if isinstance(text, str) and name not in FILES}
        for name, text in texts.items():
            if len(text) > TEXT_MAX:
                raise invalid(f"Invalid string: at most {TEXT_MAX} characters.", param=f"evidence[{name}]")
        if sum(map(len, texts.values())) > TEXTS_MAX:
            raise invalid(f"All evidence together may have at most {TEXTS_MAX} characters.", param="evidence")

    def close(self, request: web.Request, given: Given) -> Json:
        return disputes.close(self.machine, self.dispute(request, given), won=False)
