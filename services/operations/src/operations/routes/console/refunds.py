"""Refunds: those that wait for a second person, one of them, the decision about it, and taking back what is put off.
refunds decides who may do what; the console asks under the name of its person."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from operations.decide import offering
from operations.handlers.agreeing import WAITING, Agreeing, Seen
from operations.handlers.signing_in import SigningIn
from operations.model.people import Access
from operations.routes.console.forms import FORM_KEY, Form, checked, query_of, reason_in
from operations.routes.console.pages import following, page, person, see
from operations.routes.console.people import access, approver
from payments_shared.errors import Refused

PATH: Final = "/console/refunds"
ID: Final = "{refund_id:ref_[0-9a-f]{32}}"
STATUSES: Final = (
    WAITING, "requested", "approved", "submitted", "pending", "requires_action", "succeeded", "failed", "canceled",
    "rejected",
)  # fmt: skip
SHOWN: Final = ("any", *STATUSES)
AMOUNT_MAX: Final = 999_999_999_999


class RefundsQuery(BaseModel):
    """`GET /console/refunds`: those that wait, unless something else is wanted. `cursor`: where the page before
    ended."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[str, Field(pattern=f"^({'|'.join(SHOWN)})$")] = WAITING
    cursor: Annotated[str, Field(pattern=r"^ref_[0-9a-f]{32}$")] | None = None


class SeenForm(BaseModel):
    """What stood on the page on which somebody agreed."""

    model_config = ConfigDict(extra="forbid")

    amount_minor: Annotated[int, Field(gt=0, le=AMOUNT_MAX)]
    currency: Annotated[str, Field(pattern=r"^[a-z]{3}$")]
    version: Annotated[int, Field(ge=1, lt=2**31)]

    def seen(self) -> Seen:
        return Seen(self.amount_minor, self.currency, self.version)


@dataclass(frozen=True, slots=True)
class Door:
    """Everybody looks; approvers decide, about what others asked for, and whom refunds lets takes back what is put
    off."""

    agreeing: Agreeing
    signing_in: SigningIn

    async def listed(self, request: web.Request) -> web.Response:
        """A page of refunds."""
        query = query_of(request, RefundsQuery)
        who = await access(request, self.signing_in)
        found = await self.agreeing.listed(who, None if query.status == "any" else query.status, query.cursor)
        return page(
            request,
            "refunds.html",
            refunds=found.rows,
            status_shown=query.status,
            statuses=SHOWN,
            following=following(request, found.following),
        )

    async def shown(self, request: web.Request) -> web.Response:
        """One refund."""
        return await self._shown(request, await access(request, self.signing_in))

    async def approve(self, request: web.Request) -> web.Response:
        """Agree to what was seen."""
        form = request[FORM_KEY]

        async def agree(who: Access, refund_id: str, reason: str, *, actor: str) -> None:
            fields = {name: form.first(name) for name in SeenForm.model_fields}
            await self.agreeing.approve(who, refund_id, checked(SeenForm, fields).seen(), reason, actor=actor)

        return await self._act(request, approver(request).subject, agree, "approved")

    async def reject(self, request: web.Request) -> web.Response:
        """Refuse it."""
        return await self._act(request, approver(request).subject, self.agreeing.reject, "rejected")

    async def cancel(self, request: web.Request) -> web.Response:
        """Take it back."""
        return await self._act(request, person(request).subject, self.agreeing.take_back, "taken_back")

    async def _act(
        self, request: web.Request, actor: str, act: Callable[..., Awaitable[None]], said: str
    ) -> web.Response:
        who, form = await access(request, self.signing_in), request[FORM_KEY]
        try:
            reason = reason_in(form)
            await act(who, request.match_info["refund_id"], reason, actor=actor)
        except Refused as error:
            if error.status == 404:
                raise
            return await self._shown(request, who, form=form, refused=error, status=error.status)
        return see(f"{PATH}/{request.match_info['refund_id']}?said={said}")

    async def _shown(
        self,
        request: web.Request,
        who: Access,
        *,
        form: Form | None = None,
        refused: Refused | None = None,
        status: int = 200,
    ) -> web.Response:
        refund = await self.agreeing.shown(who, request.match_info["refund_id"])
        return page(
            request,
            "refund.html",
            status=status,
            refund=refund,
            waits=refund["status"] == WAITING,
            own=refund["requester"] == who.subject,
            put_off=offering.is_put_off(refund),
            takes_back=offering.takes_back(refund, who),
            reason=(form or Form()).first("reason"),
            refused=refused,
        )


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of refunds."""
    return [
        web.get(PATH, door.listed),
        web.get(f"{PATH}/{ID}", door.shown),
        web.post(f"{PATH}/{ID}/approve", door.approve),
        web.post(f"{PATH}/{ID}/reject", door.reject),
        web.post(f"{PATH}/{ID}/cancel", door.cancel),
    ]
