"""`payctl disputes`: what buyers' banks ask about or take back."""

from typing import Annotated, Final
from urllib.parse import quote, urlencode

import typer

from operations.decide.amounts import money
from operations.payctl.app import AsJson, FrontDoorUrl, Json, TokenFile, call, show_json, table
from operations.payctl.selecting import seconds

DISPUTES: Final = "/api/payments/disputes"
PAGE: Final = 100
COLUMNS: Final = {
    "id": "Dispute",
    "status": "Status",
    "amount": "Amount",
    "reason": "Reason",
    "due_by": "Evidence due",
    "evidence": "Handed in",
    "order_id": "Order",
}


def disputes(
    url: FrontDoorUrl,
    token_file: TokenFile,
    *,
    dispute_id: Annotated[
        str | None, typer.Argument(help="One, as Stripe names it: its history, warnings and refunds as JSON.")
    ] = None,
    due_within: Annotated[
        int | None,
        typer.Option(parser=seconds, metavar="AGE", help="Evidence is due so soon and none was handed in, as 72h."),
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="inquiry, open, under_review, won, lost or closed; by default all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Disputes and inquiries, the newest first; or everything about one."""
    if dispute_id is not None:
        show_json(call(url, token_file, "GET", f"{DISPUTES}/{quote(dispute_id, safe='')}"))
        return
    given: dict[str, object] = {"limit": PAGE}
    if due_within is not None:
        given["due_within_hours"] = max(-(-due_within // 3600), 1)
    if status is not None:
        given["status"] = status
    found: list[Json] = []
    while True:
        page = call(url, token_file, "GET", f"{DISPUTES}?{urlencode(given)}")
        found += page["disputes"]
        if page["next_cursor"] is None:
            break
        given["cursor"] = page["next_cursor"]
    if as_json:
        show_json(found)
        return
    table("Disputes", COLUMNS, [_row(dispute) for dispute in found])


def _row(dispute: Json) -> Json:
    return {
        **dispute,
        "id": dispute["dispute_id"],
        "amount": money(dispute["amount_minor"], dispute["currency"]),
        "evidence": dispute["submission_count"] or "",
        "due_by": dispute["due_by"] and dispute["due_by"].replace("Z", "+00:00"),
    }
