"""The story of an order, and the search that finds it."""

from dataclasses import dataclass, replace
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from operations.decide import searching
from operations.decide.telling import story
from operations.handlers.looking import Looking
from operations.routes.console.forms import query_of
from operations.routes.console.pages import page, person
from operations.routes.console.people import in_words_for
from payments_shared.personal import hidden
from payments_shared.postgres import unavailable_as_retryable

ORDER: Final = "{order_id:ord_[0-9a-f]{32}}"


class SearchQuery(BaseModel):
    """`GET /console/search`."""

    model_config = ConfigDict(extra="forbid")

    q: Annotated[str, Field(max_length=searching.TEXT_MAX)] = ""


@dataclass(frozen=True, slots=True)
class Door:
    """Nothing here changes anything."""

    looking: Looking

    async def told(self, request: web.Request) -> web.Response:
        """Everything said about an order, and what of it failed."""
        order_id = request.match_info["order_id"]
        with unavailable_as_retryable():
            messages, letters = await self.looking.timeline(order_id)
        told = messages if person(request).sees_buyers else [{**one, "data": hidden(one["data"])} for one in messages]
        return page(request, "order.html", order_id=order_id, story=story(told, letters), failed=letters)

    async def search(self, request: web.Request) -> web.Response:
        """Where a term stands."""
        term = searching.read(query_of(request, SearchQuery).q)
        with unavailable_as_retryable():
            found = await self.looking.found(term)
        found = replace(found, letters=in_words_for(request, found.letters))
        return page(request, "search.html", term=term, found=found)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of orders and of the search."""
    return [web.get(f"/console/orders/{ORDER}", door.told), web.get("/console/search", door.search)]
