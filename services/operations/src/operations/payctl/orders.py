"""`payctl order`."""

from typing import Annotated

import typer

from operations.payctl.app import AsJson, Json, TokenFile, Url, call, show_json, table


def order(
    order_id: str,
    url: Url,
    token_file: TokenFile,
    *,
    checkout_url: Annotated[
        str | None,
        typer.Option(envvar="PAYMENTS_CHECKOUT_URL", help="Internal URL of checkout, which knows the risks."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The story of an order: every message about it, in order, its dead letters, and what was decided for its risks."""
    told = call(url, token_file, "GET", f"/admin/orders/{order_id}/timeline")
    if checkout_url is not None:
        told["risk"] = call(checkout_url, token_file, "GET", f"/admin/orders/{order_id}")["risk"]
    if as_json:
        show_json(told)
        return
    table(
        f"Order {order_id}", {"time": "Time", "type": "Message", "source": "From", "message_id": "Id"}, told["messages"]
    )
    if told["dead_letters"]:
        table(
            "Dead letters",
            {"service": "Service", "type": "Type", "status": "Status", "reason": "Reason"},
            told["dead_letters"],
        )
    if told.get("risk"):
        columns = {"at": "Time", "gate": "Gate", "outcome": "Outcome", "reasons": "Reasons"}
        table("Risks", columns, [_in_words(risk) for risk in told["risk"]])


def _in_words(risk: Json) -> Json:
    score = risk["detail"].get("risk_score")
    reasons = [*risk["reasons"], *([f"score {score}"] if score is not None else [])]
    return {**risk, "reasons": "; ".join(reasons)}
