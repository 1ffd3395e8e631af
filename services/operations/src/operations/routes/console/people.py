"""Who may do what at the console, and under whose name the other services are asked."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar

from aiohttp import web

from operations.decide import discretion
from operations.handlers.signing_in import SigningIn
from operations.model.letters import Group, Listed
from operations.model.people import Access, Person
from operations.routes.console.pages import TOKEN, person
from payments_shared.clock import utc_now
from payments_shared.errors import Refused
from payments_shared.postgres import unavailable_as_retryable

SOON: Final = timedelta(seconds=5)  # what ends so soon may be over once the service reads it

T = TypeVar("T", Group, Listed)


class AccessEnded(Refused):
    """The person's token for the services is over; who signs in again has another."""

    def __init__(self) -> None:
        super().__init__("access_ended", "Your word to the services has ended. Sign in again.", status=401)


def operator(request: web.Request) -> Person:
    """Who asks, when it is an operator.

    Raises:
        Refused: 403.
    """
    found = person(request)
    if not found.acts:
        raise Refused("forbidden", "Only an operator may do this.", status=403)
    return found


def approver(request: web.Request) -> Person:
    """Who asks, when it is an approver.

    Raises:
        Refused: 403.
    """
    found = person(request)
    if not found.approves:
        raise Refused("forbidden", "Only an approver may do this.", status=403)
    return found


def in_words_for(request: web.Request, rows: Sequence[T]) -> list[T]:
    """Rows whose exceptions speak to who asks: some need not know who a buyer is."""
    if person(request).sees_buyers:
        return list(rows)
    return [replace(one, exception_message=discretion.words(one.exception_message)) for one in rows]


async def access(request: web.Request, signing_in: SigningIn) -> Access:
    """The own token, for the other services, of who asks.

    Raises:
        AccessEnded: it is over.
        Refused: 403 `no_access`: the keeper of identities gave none that they take.
    """
    with unavailable_as_retryable():
        found = await signing_in.access(request[TOKEN])
    if found is None:
        detail = "The keeper of identities gave you no token that the services take, so the console cannot ask them."
        raise Refused("no_access", detail, status=403)
    if found.ends_at <= utc_now() + SOON:
        raise AccessEnded
    return found
