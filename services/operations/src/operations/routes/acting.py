"""What operators may do. Each act has a reason, which the audit keeps with the operator's name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from operations.handlers.acting import Acting, Edit
from operations.handlers.looking import Looking
from operations.routes.rendering import BULK_ID, ID, LETTER_ID, as_json, path_id, with_exact_body
from operations.routes.shapes import Archived, Bulk, Changes, Edited, Page, Preview, Replayed
from operations.routes.wishes import ArchiveRequest, BulkRequest, EditRequest, ExportRequest, ReasonRequest
from payments_shared.auth import Principal, Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import read_json
from payments_shared.http.operations import DATABASE_AWAY, NOT_FOUND, Answer, Body, Operation, Refusal, Section, people
from payments_shared.postgres import unavailable_as_retryable

OPERATORS: Final = (people("operator"),)
WRONG_STATE: Final = Refusal(409, "wrong_state", "the bulk is not where this could happen to it.")
UNKNOWN_OUTCOME: Final = Refusal(409, "outcome_unknown", "the last replay of one may still take effect.")
NOT_OPEN: Final = Refusal(409, "not_open", "it is being replayed, or is settled.")
START: Final = Operation(
    method="POST",
    path="/admin/dead-letters/bulks",
    id="startBulk",
    summary="Replay, discard or archive many dead letters.",
    description=(
        "Takes what matches now; what fails later is not swept in. A replay or a discard takes what is open, an "
        "archive what is settled. `dry_run` shows what it would take."
    ),
    callers=OPERATORS,
    body=Body(
        BulkRequest,
        {"act": "replay", "filter": {"service": "checkout"}, "reason": "the cause is mended", "dry_run": True},
    ),
    answers=(Answer(200, "For a dry run.", Preview), Answer(202, "It runs.", Bulk)),
    refusals=(
        Refusal(409, "nothing_matches", "no dead letter matches that is open, or for an archive settled."),
        UNKNOWN_OUTCOME,
        Refusal(422, "filter_required", "name ids, a service, a type, a status, a fingerprint or an age."),
        DATABASE_AWAY,
    ),
)
PAUSE: Final = Operation(
    method="POST",
    path=f"/admin/dead-letters/bulks/{ID}/pause",
    id="pauseBulk",
    summary="Pause a bulk.",
    description="Nothing more of it is sent. What is on the way comes to its end.",
    callers=OPERATORS,
    parameters=(BULK_ID,),
    body=Body(ReasonRequest, {"reason": "the cause is not mended"}),
    answers=(Answer(200, "The bulk.", Bulk),),
    refusals=(NOT_FOUND, WRONG_STATE, DATABASE_AWAY),
)
RESUME: Final = Operation(
    method="POST",
    path=f"/admin/dead-letters/bulks/{ID}/resume",
    id="resumeBulk",
    summary="Go on with a paused bulk.",
    callers=OPERATORS,
    parameters=(BULK_ID,),
    body=Body(ReasonRequest, {"reason": "the cause is mended"}),
    answers=(Answer(200, "The bulk.", Bulk),),
    refusals=(NOT_FOUND, WRONG_STATE, DATABASE_AWAY),
)
CANCEL: Final = Operation(
    method="POST",
    path=f"/admin/dead-letters/bulks/{ID}/cancel",
    id="cancelBulk",
    summary="End a bulk.",
    description="What waits stays open, what is claimed and not tried is open again.",
    callers=OPERATORS,
    parameters=(BULK_ID,),
    body=Body(ReasonRequest, {"reason": "it is not needed any more"}),
    answers=(Answer(200, "The bulk.", Bulk),),
    refusals=(NOT_FOUND, WRONG_STATE, DATABASE_AWAY),
)
EXPORT: Final = Operation(
    method="POST",
    path="/admin/dead-letters/export",
    id="exportDeadLetters",
    summary="Take out whole dead letters, a page at a time.",
    description="Bodies hold what people entrusted to us: who took them out, and why, is written down.",
    callers=OPERATORS,
    body=Body(ExportRequest, {"filter": {"service": "checkout"}, "reason": "for the developers"}),
    answers=(Answer(200, "A page.", Page),),
    refusals=(DATABASE_AWAY,),
)
REPLAY: Final = Operation(
    method="POST",
    path=f"/admin/dead-letters/{ID}/replay",
    id="replayDeadLetter",
    summary="Send a message back to its queue.",
    callers=OPERATORS,
    parameters=(LETTER_ID,),
    body=Body(ReasonRequest, {"reason": "the cause is mended"}),
    answers=(Answer(202, "It goes back.", Replayed),),
    refusals=(NOT_FOUND, NOT_OPEN, DATABASE_AWAY),
)
EDIT: Final = Operation(
    method="POST",
    path=f"/admin/dead-letters/{ID}/edit",
    id="editDeadLetter",
    summary="Send a changed copy in place of a message.",
    description=(
        "The copy keeps its original's id. Its success resolves the original; its failure opens it again, unchanged. "
        "`dry_run` shows the changes."
    ),
    callers=OPERATORS,
    parameters=(LETTER_ID,),
    body=Body(EditRequest),
    answers=(Answer(200, "For a dry run.", Changes), Answer(202, "The copy goes.", Edited)),
    refusals=(
        NOT_FOUND,
        NOT_OPEN,
        UNKNOWN_OUTCOME,
        Refusal(422, "locked_field", "the envelope and what speaks of money are not an operator's to change."),
        Refusal(422, "not_editable", "what Stripe said, and what the service does not hear."),
        Refusal(422, "nothing_changed", "the copy is the original; replay it instead."),
        DATABASE_AWAY,
    ),
)
ARCHIVE: Final = Operation(
    method="POST",
    path="/admin/dead-letters/archive",
    id="archiveDeadLetters",
    summary="Put dead letters out of sight that are settled.",
    description="They are found by who looks for them, and come out by themselves when they go back or fail again.",
    callers=OPERATORS,
    body=Body(ArchiveRequest, {"ids": ["01890a5d-ac96-774b-bcce-b302099a8057"], "reason": "the cause is mended"}),
    answers=(Answer(200, "How many were put there.", Archived),),
    refusals=(Refusal(409, "not_settled", "none of them is resolved or discarded."), DATABASE_AWAY),
)
UNARCHIVE: Final = Operation(
    method="POST",
    path="/admin/dead-letters/unarchive",
    id="unarchiveDeadLetters",
    summary="Take dead letters out of the archive.",
    callers=OPERATORS,
    body=Body(ArchiveRequest, {"ids": ["01890a5d-ac96-774b-bcce-b302099a8057"], "reason": "it is not over"}),
    answers=(Answer(200, "How many were taken out.", Archived),),
    refusals=(Refusal(409, "not_archived", "none of them is in it."), DATABASE_AWAY),
)
SECTION: Final = Section(
    "acting",
    "For operators. Each act has a reason, which the audit keeps with the operator's name.",
    (START, PAUSE, RESUME, CANCEL, EXPORT, REPLAY, EDIT, ARCHIVE, UNARCHIVE),
)


@dataclass(frozen=True, slots=True)
class Door:
    """Everything here needs the role operator."""

    acting: Acting
    looking: Looking
    people: Verifier

    def _operator(self, request: web.Request) -> Principal:
        return require(request, self.people, *OPERATORS[0].roles)

    async def start(self, request: web.Request) -> web.Response:
        """202 with the bulk; for a dry run 200 with what it would take; 409 when that is nothing, or when a discard
        takes what may still take effect."""
        operator = self._operator(request)
        asked = await read_json(request, BulkRequest)
        instruction = asked.instruction(operator.subject)
        if not instruction.wanted.narrows:
            raise Refused(
                "filter_required", "Name ids, a service, a type, a status, a fingerprint or an age.", status=422
            )
        with unavailable_as_retryable():
            if asked.dry_run:
                return as_json(await self.acting.preview(instruction))
            bulk_id = await self.acting.start(instruction)
            return as_json(await self.looking.bulk(bulk_id), status=202)

    async def pause(self, request: web.Request) -> web.Response:
        """200 with the bulk, 409 when it does not run."""
        return await self._change(request, self.acting.pause)

    async def resume(self, request: web.Request) -> web.Response:
        """200 with the bulk, 409 when it is not paused."""
        return await self._change(request, self.acting.resume)

    async def cancel(self, request: web.Request) -> web.Response:
        """200 with the bulk, 409 when it has ended."""
        return await self._change(request, self.acting.cancel)

    async def _change(self, request: web.Request, change: Callable[..., Awaitable[None]]) -> web.Response:
        operator = self._operator(request)
        bulk_id = path_id(request)
        asked = await read_json(request, ReasonRequest)
        with unavailable_as_retryable():
            await change(bulk_id, actor=operator.subject, reason=asked.reason)
            return as_json(await self.looking.bulk(bulk_id))

    async def replay(self, request: web.Request) -> web.Response:
        """202 when it goes back, 409 when it is not open."""
        operator = self._operator(request)
        letter_id = path_id(request)
        asked = await read_json(request, ReasonRequest)
        with unavailable_as_retryable():
            replay_id = await self.acting.replay(letter_id, actor=operator.subject, reason=asked.reason)
        return as_json({"replay_id": replay_id}, status=202)

    async def edit(self, request: web.Request) -> web.Response:
        """202 when the copy goes, for a dry run 200 with its changes; 409 when it is not open, or its last replay may
        still take effect; 422 with pointers."""
        operator = self._operator(request)
        letter_id = path_id(request)
        asked = await read_json(request, EditRequest)
        edit = Edit(asked.body, asked.force, operator.subject, asked.reason)
        with unavailable_as_retryable():
            if asked.dry_run:
                return as_json({"changes": await self.acting.preview_edit(letter_id, edit)})
            replay_id, changes = await self.acting.edit(letter_id, edit)
        return as_json({"replay_id": replay_id, "changes": changes}, status=202)

    async def archive(self, request: web.Request) -> web.Response:
        """200 with how many were put out of sight, 409 when none can be."""
        return await self._archived(request, self.acting.archive)

    async def unarchive(self, request: web.Request) -> web.Response:
        """200 with how many were taken out, 409 when none is in it."""
        return await self._archived(request, self.acting.unarchive)

    async def _archived(self, request: web.Request, act: Callable[..., Awaitable[int]]) -> web.Response:
        operator = self._operator(request)
        asked = await read_json(request, ArchiveRequest)
        with unavailable_as_retryable():
            moved = await act(asked.ids, actor=operator.subject, reason=asked.reason)
        return as_json({"dead_letters": moved})

    async def export(self, request: web.Request) -> web.Response:
        """200 with whole dead letters and `next`, which is null on the last page."""
        operator = self._operator(request)
        asked = await read_json(request, ExportRequest)
        wanted = asked.filter.filter()
        with unavailable_as_retryable():
            page, following = await self.acting.export(
                replace(wanted, status=asked.status),
                after=asked.after,
                limit=asked.limit,
                actor=operator.subject,
                reason=asked.reason,
            )
        return as_json({"dead_letters": [with_exact_body(row) for row in page], "next": following})


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        START.to(door.start),
        PAUSE.to(door.pause),
        RESUME.to(door.resume),
        CANCEL.to(door.cancel),
        EXPORT.to(door.export),
        REPLAY.to(door.replay),
        EDIT.to(door.edit),
        ARCHIVE.to(door.archive),
        UNARCHIVE.to(door.unarchive),
    ]
