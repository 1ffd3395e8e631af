"""The operation that asks Stripe for events, and its answer where that may not be. Loads nothing of Stripe's SDK."""

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from typing_extensions import TypedDict

from payments_shared.errors import Refused
from payments_shared.http import Time
from payments_shared.http.operations import (
    DATABASE_AWAY,
    RETRY_AFTER,
    Answer,
    Body,
    Operation,
    Refusal,
    Section,
    people,
)

Count = Annotated[int, Field(ge=0)]


class BackfillRequest(BaseModel):
    """`POST /admin/stripe/backfill`: `cursor` is the last answer's, absent at the beginning."""

    model_config = ConfigDict(extra="forbid")

    since: Time
    cursor: Annotated[str, Field(max_length=300)] | None = None
    dry_run: StrictBool = False


class Walked(TypedDict):
    """What a part of the walk found, all of one `stage`: the undelivered events come first. `new` were not stored
    before; among them `ignored`, which nobody hears, and `dead`, which cannot be used. `failed` are those that the
    database refuses."""

    stage: Literal["undelivered", "all"]
    seen: Count
    new: Count
    ignored: Count
    dead: Count
    failed: Count
    reached: Annotated[str | None, Field(description="When the last event seen was created.")]
    cursor: Annotated[str | None, Field(description="Where to go on; null at the end.")]
    done: bool


WALK: Final = Operation(
    method="POST",
    path="/admin/stripe/backfill",
    id="backfillEvents",
    summary="Take in events from Stripe's list that no webhook brought.",
    description="Walks the list for some seconds and tells where to go on. Nothing is stored with `dry_run`.",
    callers=(people("operator"),),
    body=Body(BackfillRequest, {"since": "2026-08-26T12:00:00Z", "dry_run": True}),
    answers=(Answer(200, "What was found.", Walked),),
    refusals=(
        Refusal(409, "backfill_off", "webhook-ingest has no key of Stripe's."),
        Refusal(422, "cursor_unknown", "the cursor is none that was given here."),
        Refusal(422, "since_out_of_range", "Stripe keeps events for 30 days."),
        Refusal(502, "stripe_refused", "Stripe refuses for good."),
        DATABASE_AWAY,
        Refusal(503, "stripe_unavailable", "Stripe does not answer.", (RETRY_AFTER,)),
    ),
)
SECTION: Final = Section("backfill", "For operators.", (WALK,))


async def _refuse(_: web.Request) -> web.Response:
    raise Refused("backfill_off", "webhook-ingest has no PAYMENTS_STRIPE_API_KEY.")


def without_stripe() -> list[web.RouteDef]:
    """Routes of the internal port where Stripe may not be asked."""
    return [WALK.to(_refuse)]
