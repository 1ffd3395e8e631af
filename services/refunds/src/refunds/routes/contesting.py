"""Staff look at what proves a disputed payment, and hand it in."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, create_model
from typing_extensions import TypedDict

from payments_shared import idempotency
from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from payments_shared.http.operations import (
    DATABASE_AWAY,
    IDEMPOTENCY_KEY,
    NOT_FOUND,
    REPLAYED,
    RETRY_AFTER,
    Answer,
    Body,
    Operation,
    Refusal,
    people,
)
from payments_shared.ids import external_id
from payments_shared.postgres import unavailable_as_retryable
from refunds.decide.evidence import LIMITS
from refunds.handlers.contesting import Contesting, Print
from refunds.handlers.exhibiting import Exhibiting
from refunds.model.packs import Pack
from refunds.model.requests import Person
from refunds.model.submissions import Submission, SubmissionState, Wanted
from refunds.routes.disputing import DISPUTE_ID, dispute_id_of
from refunds.routes.refunding import readable
from refunds.routes.shapes import Time, moment

READERS: Final = (people("support", "admin", "approver"),)
STRIPE_AWAY: Final = Refusal(503, "stripe_unavailable", "Stripe does not say how it took the money.", (RETRY_AFTER,))


def _field(limit: int) -> tuple[Any, None]:  # Any: a type, as pydantic takes it
    return Annotated[str, Field(max_length=limit), AfterValidator(readable)] | None, None


Texts: type[BaseModel] = create_model(
    "EvidenceTexts",
    __config__=ConfigDict(extra="forbid"),
    __doc__="One's own words in place of the pack's; an empty text takes one away.",
    **{name: _field(limit) for name, limit in LIMITS.items()},  # type: ignore[call-overload]
)
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class EvidenceRequest(BaseModel):
    """`POST …/{dispute_id}/evidence`: the `digest` is that of the pack that was looked at. With `submit` Stripe sends
    it to the bank, which takes it once; without, it lies ready in Stripe's dashboard."""

    model_config = ConfigDict(extra="forbid")

    digest: Digest
    submit: StrictBool
    reason: Annotated[str, Field(min_length=3, max_length=500), AfterValidator(readable)]
    texts: Texts | None = None

    def overrides(self) -> dict[str, str]:
        """The words that were given."""
        return self.texts.model_dump(exclude_none=True) if self.texts is not None else {}


class SubmissionShown(TypedDict):
    """Evidence that somebody handed in, or laid ready. `intended`: Stripe has not answered yet; `refused` with Stripe's
    code. `evidence` are the texts that are sent beside the document."""

    submission_id: Annotated[str, Field(pattern=r"^evd_[0-9a-f]{32}$")]
    status: Annotated[str, Field(json_schema_extra={"enum": [state.value for state in SubmissionState]})]
    submit: bool
    digest: Digest
    actor: str
    reason: str
    evidence: dict[str, str]
    file_id: str | None
    refusal: str | None
    created_at: Time | None
    settled_at: Time | None


class EvidenceShown(TypedDict):
    """What proves a disputed payment, and what was handed in of it, the newest first."""

    pack: Pack
    submissions: list[SubmissionShown]


PATH: Final = "/api/payments/disputes/{dispute_id}/evidence"
SHOW: Final = Operation(
    method="GET",
    path=PATH,
    id="getEvidence",
    summary="See what proves a disputed payment.",
    description=(
        "Put together of everything that was heard of the order, and of how Stripe took the money. The same facts have "
        "the same `digest`, by which the pack is handed in."
    ),
    callers=READERS,
    parameters=(DISPUTE_ID,),
    answers=(Answer(200, "The pack.", EvidenceShown),),
    refusals=(NOT_FOUND, DATABASE_AWAY, STRIPE_AWAY),
)
PRINT: Final = Operation(
    method="GET",
    path=f"{PATH}.pdf",
    id="printEvidence",
    summary="See it as the bank gets it.",
    callers=READERS,
    parameters=(DISPUTE_ID,),
    answers=(Answer(200, "The document, A4.", bytes, media_type="application/pdf"),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "document_too_large", "it is larger than Stripe takes."),
        DATABASE_AWAY,
        STRIPE_AWAY,
    ),
)
HAND_IN: Final = Operation(
    method="POST",
    path=PATH,
    id="submitEvidence",
    summary="Hand in the evidence of a dispute.",
    description=(
        "What was looked at is kept with who handed it in, when and why, before Stripe is asked; whether Stripe took "
        "it stands in `submissions` soon. A bank takes evidence once. The same `Idempotency-Key` gets the same answer "
        "again."
    ),
    callers=(people("admin"),),
    parameters=(DISPUTE_ID, IDEMPOTENCY_KEY),
    body=Body(EvidenceRequest, {"digest": "0" * 64, "submit": True, "reason": "Delivered, as the carrier says."}),
    answers=(Answer(202, "It is on its way to Stripe.", SubmissionShown, headers=(REPLAYED,)),),
    refusals=(
        NOT_FOUND,
        Refusal(409, "evidence_changed", "the facts are others than those of `digest`."),
        Refusal(409, "evidence_submitted", "the bank has evidence, and takes none again."),
        Refusal(409, "evidence_under_way", "Stripe has not answered for what was handed in before."),
        Refusal(409, "dispute_closed", "it is decided; `dispute_status` says how."),
        Refusal(409, "too_late", "the evidence was due before."),
        Refusal(422, "evidence_too_long", "all texts together are longer than a bank takes."),
        DATABASE_AWAY,
    ),
)
OPERATIONS: Final = (SHOW, PRINT, HAND_IN)


@dataclass(frozen=True, slots=True)
class Door:
    """`/api/payments/disputes/{dispute_id}/evidence`, for staff alone."""

    exhibiting: Exhibiting
    contesting: Contesting
    people: Verifier
    printed: Print

    async def show(self, request: web.Request) -> web.Response:
        """The pack, and what was handed in."""
        require(request, self.people, *SHOW.roles)
        with unavailable_as_retryable():
            view = await self.exhibiting.show(dispute_id_of(request))
        body = {"pack": view.pack.model_dump(mode="json"), "submissions": [_shown(one) for one in view.submissions]}
        return web.json_response(body)

    async def print(self, request: web.Request) -> web.Response:
        """The pack as a document."""
        require(request, self.people, *PRINT.roles)
        with unavailable_as_retryable():
            view = await self.exhibiting.show(dispute_id_of(request))
        body = await asyncio.to_thread(self.printed, view.pack)
        name = f'attachment; filename="{view.pack.dispute.id}.pdf"'
        return web.Response(body=body, content_type="application/pdf", headers={"Content-Disposition": name})

    async def hand_in(self, request: web.Request) -> web.Response:
        """202 with what is on its way; the same answer again under the same key."""
        who = require(request, self.people, *HAND_IN.roles)
        key_text = idempotency.parse_key(request)
        body = await read_json(request, EvidenceRequest)
        dispute_id = dispute_id_of(request)
        wanted = Wanted(
            dispute_id=dispute_id,
            digest=body.digest,
            overrides=body.overrides(),
            final=body.submit,
            reason=body.reason,
            person=Person(who.subject, who.email),
        )
        fingerprint = idempotency.fingerprint([dispute_id, body.model_dump(mode="json")])
        key = idempotency.Key(f"sub:{who.subject}", HAND_IN.path, key_text, fingerprint)
        with unavailable_as_retryable():
            answer = await self.contesting.hand_in(wanted, key, lambda made: {**_shown(made)})
        headers = {"Idempotency-Replayed": "true"} if answer.replayed else None
        return web.Response(
            body=answer.body, status=answer.status, content_type="application/json", charset="utf-8", headers=headers
        )


def _shown(one: Submission) -> SubmissionShown:
    return {
        "submission_id": external_id("evd", one.id),
        "status": one.state.value,
        "submit": one.final,
        "digest": one.digest,
        "actor": one.person.subject,
        "reason": one.reason,
        "evidence": dict(one.evidence),
        "file_id": one.file_id,
        "refusal": one.refusal,
        "created_at": moment(one.created_at) if one.created_at else None,
        "settled_at": moment(one.settled_at) if one.settled_at else None,
    }


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [SHOW.to(door.show), PRINT.to(door.print), HAND_IN.to(door.hand_in)]
