"""Which dead letters a command means, as options that all of them share."""

import re
from typing import Annotated, Final

import typer

from operations.payctl.app import Json

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> int:
    """`90s`, `10m`, `2h` or `3d` in seconds."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise typer.BadParameter("write a number and s, m, h or d, such as 30m")
    return int(match[1]) * _UNITS[match[2]]


Ids = Annotated[list[str] | None, typer.Argument(help="Ids of dead letters; or use the filters.")]
Service = Annotated[str | None, typer.Option(help="The service that failed.")]
Type = Annotated[str | None, typer.Option("--type", help="The message's type.")]
Fingerprint = Annotated[str | None, typer.Option(help="How it failed; see `payctl dlq groups`.")]
Status = Annotated[str | None, typer.Option(help="open, replaying, resolved or discarded.")]
OlderThan = Annotated[int | None, typer.Option(parser=seconds, metavar="AGE", help="Failed longer ago, such as 30m.")]
NewerThan = Annotated[int | None, typer.Option(parser=seconds, metavar="AGE", help="Failed since, such as 2h.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit with your name.")]
Force = Annotated[
    bool, typer.Option("--force", help="Although nobody has told how the last replay ended; kept in the audit.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")]


def selection(
    *,
    ids: list[str] | None,
    service: str | None,
    type_: str | None,
    fingerprint: str | None,
    older_than: int | None,
    newer_than: int | None,
) -> Json:
    """The filter of a request; what was not given is left out."""
    given = {
        "ids": ids or None,
        "service": service,
        "type": type_,
        "fingerprint": fingerprint,
        "older_than_seconds": older_than,
        "newer_than_seconds": newer_than,
    }
    return {name: value for name, value in given.items() if value is not None}
