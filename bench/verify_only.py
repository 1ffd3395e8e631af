"""`python -m bench.verify_only`: a plain aiohttp handler that checks Stripe's signature, answers 200 and does no more.

It is what the webhook endpoint is measured against: the same check of the signature, listening settings, loop and
collector settings, and no middleware, no log, no storage, no broker. `BENCH_PORT` and `BENCH_SECRET` say where and with
which secret.
"""

import asyncio
import os
from datetime import UTC, datetime

from aiohttp import web

from payments_shared.http import serve
from payments_shared.process import loop_factory, settle_memory
from webhook_ingest.decide import verify
from webhook_ingest.model import Rejection, Secret

PATH = "/api/payments/webhook"


async def main() -> None:
    """Serve until the parent ends us."""
    secrets = (Secret(os.environ["BENCH_SECRET"].encode()),)

    async def webhook(request: web.Request) -> web.Response:
        body = await request.read()
        verdict = verify(request.headers.get("Stripe-Signature", ""), body, secrets, datetime.now(UTC))
        status = 400 if isinstance(verdict, Rejection) else 200
        return web.Response(status=status, body=b'{"received":true}', content_type="application/json")

    app = web.Application(client_max_size=256 * 1024)
    app.add_routes([web.post(PATH, webhook)])
    await serve(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]))
    settle_memory()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
