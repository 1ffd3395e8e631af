"""What operators ask for, as JSON of the internal port and as forms of the console. Each act has its reason."""

from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from operations.model.bulks import ANYTHING_MAX, Act, Instruction
from operations.model.letters import Filter, Status

RATE = 50.0  # a second, for each service
IDS_MAX = 1000
PAGE_MAX = 200

Reason = Annotated[str, Field(min_length=3, max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, strict=True)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Selection(_Body):
    """Which dead letters; what is left out means any."""

    service: Name | None = None
    type: Name | None = None
    fingerprint: Name | None = None
    older_than_seconds: Seconds | None = None
    newer_than_seconds: Seconds | None = None
    ids: Annotated[list[UUID], Field(min_length=1, max_length=IDS_MAX)] | None = None

    def filter(self) -> Filter:
        return Filter(
            service=self.service,
            type=self.type,
            fingerprint=self.fingerprint,
            older_than_seconds=self.older_than_seconds,
            newer_than_seconds=self.newer_than_seconds,
            ids=None if self.ids is None else tuple(self.ids),
        )


class BulkSelection(Selection):
    """Which dead letters. `status` is for an archive alone: all else takes what is open."""

    status: Literal["resolved", "discarded"] | None = None

    def filter(self) -> Filter:
        return replace(super().filter(), status=self.status)


class BulkRequest(_Body):
    """`POST /admin/dead-letters/bulks`. `force`: discard although nobody told how the last replay ended."""

    act: Act
    filter: BulkSelection
    reason: Reason
    limit: Annotated[int, Field(ge=1, le=ANYTHING_MAX, strict=True)] = ANYTHING_MAX
    rate: Annotated[float, Field(ge=0.01, le=1000, allow_inf_nan=False, strict=True)] = RATE
    force: StrictBool = False
    dry_run: StrictBool = False

    @model_validator(mode="after")
    def _only_discards_are_forced(self) -> "BulkRequest":
        if self.force and self.act != "discard":
            raise ValueError("only a discard can be forced")
        return self

    @model_validator(mode="after")
    def _what_is_settled_is_archived(self) -> "BulkRequest":
        if self.filter.status is not None and self.act != "archive":
            raise ValueError("a replay or a discard takes what is open")
        if self.filter.ids is not None and self.act == "archive":
            raise ValueError("ids are archived without a bulk")
        return self

    def instruction(self, actor: str) -> Instruction:
        return Instruction(
            self.act, self.filter.filter(), self.limit, self.rate, force=self.force, actor=actor, reason=self.reason
        )


class ArchiveRequest(_Body):
    """`POST /admin/dead-letters/archive` and `/unarchive`."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=PAGE_MAX)]
    reason: Reason


class ReasonRequest(_Body):
    """A replay of one, and pause, resume and cancel of a bulk."""

    reason: Reason


class EditRequest(_Body):
    """`POST /admin/dead-letters/{id}/edit`: the whole message, envelope and data. `force`: although nobody told how the
    last replay ended."""

    body: dict[str, Any]  # Any: a message of any type
    reason: Reason
    force: StrictBool = False
    dry_run: StrictBool = False


class ExportRequest(_Body):
    """`POST /admin/dead-letters/export`: one page; `after` is the `next` of the page before."""

    filter: Selection = Selection()
    status: Status | None = None
    reason: Reason
    after: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX, strict=True)] = PAGE_MAX
