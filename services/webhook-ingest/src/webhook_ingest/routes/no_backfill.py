"""What the operators' door says where webhook-ingest may not ask Stripe. Loads nothing of Stripe's SDK."""

from aiohttp import web

from payments_shared.errors import Refused


async def _refuse(_: web.Request) -> web.Response:
    raise Refused("backfill_off", "webhook-ingest has no PAYMENTS_STRIPE_API_KEY.")


def routes() -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [web.post("/admin/stripe/backfill", _refuse)]
