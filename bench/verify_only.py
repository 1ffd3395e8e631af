"""`python -m bench.verify_only`: a plain aiohttp handler that checks Stripe's signature, answers 200 and does no more.

It is what the webhook endpoint is measured against: the same listening settings, loop and log line a request, and no
middleware, no storage, no broker. `BENCH_PORT` and `BENCH_SECRET` say where and with which secret.
"""

import asyncio
import hashlib
import hmac
import json
import os
import sys
import time
from datetime import UTC, datetime

from aiohttp import web

from payments_shared.http import serve
from payments_shared.process import loop_factory

PATH = "/api/payments/webhook"
TOLERANCE_SECONDS = 300


def signed(header: str, body: bytes, secret: bytes) -> bool:
    """Whether `header` is a fresh signature of `body`."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    expected = hmac.new(secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    fresh = abs(time.time() - int(parts["t"])) <= TOLERANCE_SECONDS
    return hmac.compare_digest(expected, parts["v1"]) and fresh


async def main() -> None:
    """Serve until the parent ends us."""
    secret = os.environ["BENCH_SECRET"].encode()

    async def webhook(request: web.Request) -> web.Response:
        started = time.perf_counter()
        good = signed(request.headers["Stripe-Signature"], await request.read(), secret)
        status = 200 if good else 400
        line = {
            "event": "http.request",
            "timestamp": datetime.now(UTC).isoformat(),  # noqa: DTZ005 - aware
            "method": request.method,
            "route": PATH,
            "status": status,
            "ms": round((time.perf_counter() - started) * 1000, 2),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        return web.Response(status=status, body=b'{"received":true}', content_type="application/json")

    app = web.Application(client_max_size=256 * 1024)
    app.add_routes([web.post(PATH, webhook)])
    await serve(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
