"""`python -m bench.instant_stripe PORT`: opens Checkout Sessions at once, or after exactly as long as it is told.

Stripe takes a few hundred milliseconds; what is measured is everything else. It keeps nothing and checks nothing: the
simulator is for that, and would bind what it is to measure.
"""

import asyncio
import secrets
import sys
from dataclasses import dataclass

from aiohttp import web

from bench.evidence import say

DELAY_PATH = "/delay"


@dataclass(slots=True)
class Stripe:
    """`delay` in seconds from a request to its answer."""

    delay: float = 0.0

    async def set_delay(self, request: web.Request) -> web.Response:
        """The body is the new delay."""
        self.delay = float(await request.text())
        return web.json_response({"delay": self.delay})

    async def open_session(self, request: web.Request) -> web.Response:
        """A session, as far as anybody looks at it."""
        due = asyncio.get_running_loop().time() + self.delay
        await request.read()
        session = f"cs_test_{secrets.token_hex(16)}"
        answer = {"id": session, "object": "checkout.session", "url": f"https://pay.example/{session}"}
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        return web.json_response(answer)


def main() -> None:
    """Serve until the parent ends us."""
    stripe = Stripe()
    app = web.Application()
    app.add_routes([web.post("/v1/checkout/sessions", stripe.open_session), web.put(DELAY_PATH, stripe.set_delay)])
    say(f"opening sessions at port {sys.argv[1]}")
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
