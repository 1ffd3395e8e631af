"""The console, put together."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from operations.handlers.acting import Acting
from operations.handlers.agreeing import Agreeing
from operations.handlers.contesting import Contesting
from operations.handlers.counting import Counting
from operations.handlers.looking import Looking
from operations.handlers.redelivering import Redelivering
from operations.handlers.signing_in import SigningIn
from operations.handlers.switching import Switching
from operations.handlers.watching import Watching
from operations.routes.console import (
    assets,
    audit,
    bulks,
    disputes,
    home,
    letters,
    orders,
    pages,
    refunds,
    services,
    signing_in,
    stripe_events,
)
from operations.routes.console.guard import Guard
from payments_shared.http import public_app

FORM_MAX_BYTES: Final = 4 * 1024 * 1024  # a message of a megabyte, as forms write it


@dataclass(frozen=True, slots=True)
class Desks:
    """What people do at other services; None where the deployment does not say where one is found."""

    agreeing: Agreeing | None
    contesting: Contesting | None
    redelivering: Redelivering | None
    switching: Switching


def console_app(
    *,
    service: str,
    origin: str,
    looking: Looking,
    acting: Acting,
    signing_in_: SigningIn,
    watching: Watching,
    desks: Desks,
) -> web.Application:
    """An application for people in browsers, which find it at `origin`."""
    app = public_app(service=service, client_max_size=FORM_MAX_BYTES)
    app.middlewares.append(Guard(signing_in_, origin).middleware())
    counting = Counting(looking)
    app.add_routes(assets.routes())
    app.add_routes(signing_in.routes(signing_in.Door(signing_in_)))
    app.add_routes(home.routes(home.Door(looking, counting, watching, desks.agreeing, desks.contesting, signing_in_)))
    app.add_routes(letters.routes(letters.Door(looking, counting, acting)))
    app.add_routes(bulks.routes(bulks.Door(looking, acting)))
    app.add_routes(orders.routes(orders.Door(looking)))
    app.add_routes(services.routes(services.Door(watching, desks.switching, signing_in_)))
    app.add_routes(audit.routes(audit.Door(looking)))
    elsewhere = _elsewhere(desks, signing_in_)
    for found in elsewhere.values():
        app.add_routes(found)
    left_out = {refunds.PATH, disputes.PATH, stripe_events.PATH} - elsewhere.keys()
    pages.prepare(app, tuple(place for place in pages.NAVIGATION if place[0] not in left_out))
    return app


def _elsewhere(desks: Desks, signing_in_: SigningIn) -> dict[str, list[web.RouteDef]]:
    """The pages about what other services keep, as far as these can be reached, by their addresses."""
    found: dict[str, list[web.RouteDef]] = {}
    if desks.agreeing is not None:
        found[refunds.PATH] = refunds.routes(refunds.Door(desks.agreeing, signing_in_))
    if desks.contesting is not None:
        found[disputes.PATH] = disputes.routes(disputes.Door(desks.contesting, signing_in_))
    if desks.redelivering is not None:
        found[stripe_events.PATH] = stripe_events.routes(stripe_events.Door(desks.redelivering, signing_in_))
    return found
