"""`python -m bench.peers.stripe_stub PORT`: answers `GET /v1/payment_intents/ID` at once, as Stripe never could.

dj-stripe fetches every object that an event speaks of. At Stripe that takes a tenth of a second and counts against the
account's rate limit; here it costs next to nothing, so that what is measured is dj-stripe.
"""

import sys
import time

from aiohttp import web

from bench.events import intent


async def _intent(request: web.Request) -> web.Response:
    intent_id = request.match_info["id"]
    return web.json_response(intent(intent_id, f"ord_{intent_id[4:].ljust(32, '0')}", int(time.time())))


def main() -> None:
    """Serve until the parent ends us."""
    app = web.Application()
    app.add_routes([web.get("/v1/payment_intents/{id}", _intent)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
