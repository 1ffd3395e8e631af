"""What people are shown who need not know who a buyer is. Pure."""

from collections.abc import Mapping
from typing import Any

from payments_shared.personal import HIDDEN, hidden, hidden_body, hidden_text, is_personal

Row = Mapping[str, Any]  # Any: column values


def words(text: str | None) -> str | None:
    """What an exception says, or its stack."""
    return None if text is None else hidden_text(text)


def letter(row: Row) -> dict[str, Any]:  # Any: column values
    """A dead letter. What operators wrote and did stays, but for the values that they changed."""
    shown = {**row, **standing(row), "exception_message": words(row["exception_message"])}
    return {**shown, "stack": words(row["stack"]), "headers": hidden(row["headers"]), "body": hidden_body(row["body"])}


def standing(row: Row) -> dict[str, Any]:  # Any: column values
    """What became of a dead letter."""
    attempts = [_attempt(one) for one in row["attempts_made"]]
    return {
        **row,
        "attempts_made": attempts,
        "audit": [{**one, "detail": detail(one["detail"])} for one in row["audit"]],
    }


def detail(given: Any) -> Any:  # Any: JSON
    """The details of an act."""
    if not isinstance(given, Mapping) or not isinstance(given.get("changes"), list):
        return hidden(given)
    rest = {name: value for name, value in given.items() if name != "changes"}
    return {**hidden(rest), "changes": [_change(one) for one in given["changes"]]}


def _attempt(row: Row) -> dict[str, Any]:  # Any: column values
    shown = {**row, "exception_message": words(row["exception_message"])}
    return shown if shown.get("body") is None else {**shown, "body": hidden_body(shown["body"])}


def _change(change: Row) -> dict[str, Any]:  # Any: JSON
    if is_personal(str(change.get("pointer", ""))):
        return {name: value if name == "pointer" else HIDDEN for name, value in change.items()}
    return dict(hidden(change))
