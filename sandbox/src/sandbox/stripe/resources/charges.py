"""Charges, and what becomes of them at the bank: balance transactions and disputes."""

from dataclasses import dataclass

from aiohttp import web

from sandbox.stripe import params
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import disputes


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
        params.change_texts(dispute, given)
        evidence = params.group(given, "evidence")
        dispute["evidence"] = {**dispute["evidence"], **{k: v for k, v in evidence.items() if k in dispute["evidence"]}}
        disputes.submit(self.machine, dispute)
        # The evidence texts that win and lose test disputes.
        match evidence.get("uncategorized_text"):
            case "winning_evidence":
                disputes.close(self.machine, dispute, won=True)
            case "losing_evidence":
                disputes.close(self.machine, dispute, won=False)
        return dispute

    def close(self, request: web.Request, given: Given) -> Json:
        return disputes.close(self.machine, self.dispute(request, given), won=False)
