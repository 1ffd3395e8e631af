"""The outward door of webhook-ingest: Stripe's list of events. Loading it loads Stripe's SDK."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from payments_shared.errors import Poison, Refused
from payments_shared.stripe_client import Stripe, StripeRefused

PAGE_MAX: Final = 100  # Stripe's own limit
Json = dict[str, Any]  # Any: Stripe's own shape


@dataclass(frozen=True, slots=True)
class Page:
    """Events as Stripe lists them, in the order of their creation, each as JSON.

    `newest` is the id of the last one, from which the next page goes on; None when the page is empty. `more`: Stripe
    has newer ones.
    """

    bodies: tuple[bytes, ...]
    newest: str | None
    more: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: created from `since` on, before `until` when it is given, with `undelivered` only those that an
    endpoint has not taken yet, and with `types`, twenty at most, only those."""

    since: datetime
    until: datetime | None = None
    undelivered: bool = False
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StripeEvents:
    """Stripe's list of events, which goes back thirty days.

    It is read without the SDK's objects, which would be fifteen times as large as the events and hold up the loop.
    """

    stripe: Stripe

    async def page(self, wanted: Wanted, after: str | None) -> Page:
        """The next events after the one with the id `after`, or the first ones.

        Raises:
            Refused: Stripe does not know `after` any more, or the key may not read events.
            OutcomeUnknown: no answer.
        """
        if after is None:
            return await self._first(wanted)
        listed = await self._list(_asked_for(wanted), ending_before=after)
        return _page(listed["data"], more=bool(listed["has_more"]))

    async def _first(self, wanted: Wanted) -> Page:
        """The oldest events. Stripe lists the newest first and has no other order: the span is halved until what was
        created in it fits on one page."""
        asked = _asked_for(wanted)
        listed = await self._list(asked)
        more = bool(listed["has_more"])
        if not more:
            return _page(listed["data"], more=False)
        begin, end = int(asked["created"]["gte"]), int(listed["data"][0]["created"]) + 1
        while listed["has_more"] and end - begin > 1:
            middle = (begin + end) // 2
            older = await self._list({**asked, "created": {"gte": begin, "lt": middle}})
            if older["data"]:
                listed, end = older, middle
            else:
                begin = middle
        while listed["has_more"]:  # more than a page in one second
            span = {"gte": begin, "lt": end}
            listed = await self._list({**asked, "created": span}, starting_after=listed["data"][-1]["id"])
        return _page(listed["data"], more=True)

    async def _list(self, asked: Mapping[str, Any], **cursor: str) -> Json:  # Any: nested parameters
        params = {**asked, **cursor, "limit": PAGE_MAX}
        try:
            answer = await self.stripe.call(
                "events.list", lambda: self.stripe.client.raw_request_async("get", "/v1/events", **params)
            )
        except StripeRefused as refusal:
            raise Refused("stripe_refused", f"Stripe says: {refusal.detail}", status=502) from refusal
        if not isinstance(answer.data, dict):
            raise Poison("unreadable_list", "Stripe's list of events is no object.")
        return answer.data


def _asked_for(wanted: Wanted) -> Json:
    created = {"gte": int(wanted.since.timestamp())}
    if wanted.until is not None:
        created["lt"] = int(wanted.until.timestamp())
    asked: Json = {"created": created}
    if wanted.undelivered:
        asked["delivery_success"] = False
    if wanted.types:
        asked["types"] = list(wanted.types)
    return asked


def _page(newest_first: Sequence[Json], *, more: bool) -> Page:
    # Escaped as ASCII: whatever Stripe sent can be written down, and what is malformed in it is judged like a webhook.
    bodies = tuple(json.dumps(event, separators=(",", ":")).encode() for event in reversed(newest_first))
    return Page(bodies, newest_first[0]["id"] if newest_first else None, more)
