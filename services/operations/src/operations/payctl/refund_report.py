"""`payctl refund-report`: what refunds come to, and who or what stands out."""

import csv
import sys
from enum import StrEnum
from typing import Annotated, Final
from urllib.parse import urlencode

import typer

from operations.payctl.app import AsJson, FrontDoorUrl, Json, TokenFile, call, fail, plain, show_json, table

PATH: Final = "/api/payments/refund-report"
COLUMNS: Final = {
    "name": "Name",
    "requests": "Requests",
    "sums": "Sums in minor units",
    "orders": "Orders",
    "refunded_orders": "Refunded",
    "refunded_per_thousand": "Per thousand",
    "second_person_per_thousand": "Second person, per thousand",
    "suspicious": "Suspicious",
    "rejected": "Rejected",
    "failed": "Failed",
    "marks": "Stands out by",
    "top": "Most suspicious",
}


class By(StrEnum):
    """By what requests are put together."""

    OPERATOR = "operator"
    CUSTOMER = "customer"
    PRODUCT = "product"
    REASON = "reason"


def refund_report(
    url: FrontDoorUrl,
    token_file: TokenFile,
    *,
    since: Annotated[str | None, typer.Option("--from", help="The first day, in UTC, such as 2026-08-01.")] = None,
    to: Annotated[str | None, typer.Option(help="The last day; without it, today.")] = None,
    by: Annotated[By, typer.Option(help="By what requests are put together.")] = By.OPERATOR,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many groups.")] = 50,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
) -> None:
    """What refunds come to by operator, customer, product or reason, those that stand out first."""
    if as_json and as_csv:
        fail("either --json or --csv", 2)
    given = {"from": since, "to": to, "by": by.value, "limit": limit}
    asked = urlencode({name: value for name, value in given.items() if value is not None})
    found = call(url, token_file, "GET", f"{PATH}?{asked}")
    if as_json:
        show_json(found)
        return
    rows = [_row(group) for group in found["groups"]]
    if as_csv:
        written = csv.writer(sys.stdout, lineterminator="\n")
        written.writerow(COLUMNS)
        written.writerows([_harmless(row[name]) for name in COLUMNS] for row in rows)
        return
    rate = found["refunded_per_thousand"]
    told = "none were paid" if rate is None else f"{rate} of a thousand of its {found['orders']} orders were refunded"
    sys.stdout.write(f"{found['first_day']} to {found['last_day']}; the shop: {told}\n")
    table(f"Refunds by {by.value}", COLUMNS, rows)
    if found["more"]:
        sys.stdout.write("there are more; --limit shows them\n")


def _row(group: Json) -> Json:
    return {
        **group,
        "sums": ", ".join(f"{one['amount_minor']} {one['currency']}" for one in group["sums"]),
        "marks": "; ".join(f"{one['signal']} ({_numbers(one['detail'])})" for one in group["marks"]),
        "top": "; ".join(f"{one['score']} {one['refund_id']}: {_signals(one)}" for one in group["top"]),
    }


def _numbers(detail: Json) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in detail.items())


def _signals(top: Json) -> str:
    return ", ".join(reason["signal"] for reason in top["score_reasons"])


def _harmless(value: object) -> object:
    """What a buyer named himself is no formula of a spreadsheet."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
