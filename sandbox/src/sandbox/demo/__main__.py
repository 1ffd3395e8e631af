"""`python -m sandbox.demo`: everything on this machine, one purchase, and the proof. Exit status 0 when all holds.

With STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET of a real account in test mode there is no simulator and no story: the
platform runs against Stripe until Ctrl-C, and the purchase is yours to make.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import psutil

from payments_shared.contracts.catalog import SERVICES
from sandbox.demo import story
from sandbox.demo.customer import Customer, NotInTime
from sandbox.demo.report import Report
from sandbox.services.children import ChildFailed, free_ports
from sandbox.services.deployment import Deployment, StripeAccount, deploy
from sandbox.services.resolver import Servers, ServersUnavailable, start_servers
from sandbox.shop.catalogue import ARTICLES, SHIPPING, TAX_RATES, seed

FRONT_PORT: Final = 8080
TAXED: Final = {"PAYMENTS_TAX": "table"}  # what is due is in the rates that are put beside the articles
CALLS: Final = """\
    curl -sS {url}/api/payments/checkout-session \\
      -H 'Content-Type: application/json' -H "Idempotency-Key: cart-$(date +%s%N)" \\
      -d '{{"lines": [{{"sku": "MUG-CLAY", "quantity": 1}}], "currency": "usd", "country": "US", "email": "ada@example.com"}}' \\
      | tee /tmp/order.json
    field() {{ python3 -c 'import json, sys; print(json.load(open("/tmp/order.json"))[sys.argv[1]])' "$1"; }}
    curl -sS "{url}/api/payments/orders/$(field order_id)" -H "Order-Token: $(field order_token)"\
"""


async def run(servers: Servers, report: Report) -> bool:
    """Start, tell, check; on a terminal stay until Ctrl-C. Whether all checks hold."""
    async with _started(servers, report, None) as deployment:
        async with Customer.of(deployment) as customer:
            report.heading("A purchase")
            order = await story.tell(customer, report)
            report.heading("The same webhook again")
            await story.repeat(customer, report, order)
            report.heading("The audit")
            await story.audit(customer, report)
        beyond = _listening_beyond_loopback()
        report.check("addresses beyond the loopback listened on", expected=[], seen=beyond)
        report.table()
        if _interactive():
            await _stay(deployment, report)
        report.say("stopping everything that was started")
    return report.passed


async def run_against(account: StripeAccount, servers: Servers, report: Report) -> None:
    """Start everything but the simulator, and stay until Ctrl-C."""
    async with _started(servers, report, account) as deployment:
        report.say(f"Stripe must reach {deployment.front_door_url}/api/payments/webhook; in another terminal:")
        report.console.print(f"    stripe listen --forward-to {deployment.front_door_url}/api/payments/webhook")
        await _stay(deployment, report)


@contextlib.asynccontextmanager
async def _started(servers: Servers, report: Report, account: StripeAccount | None) -> AsyncIterator[Deployment]:
    namespace = f"demo_{secrets.token_hex(3)}"
    port = _front_port()
    async with deploy(
        servers, namespace=namespace, front_port=port, extra=TAXED | _spans(), account=account, say=report.say
    ) as deployment:
        report.say(f"ready: {len(SERVICES)} services and {len(deployment.children) - len(SERVICES)} sandbox programs")
        await seed(
            checkout_url=deployment.internal_url("checkout"),
            inventory_url=deployment.internal_url("inventory"),
            token=lambda: deployment.keys.token("demo", "admin"),
        )
        report.say(
            f"{len(ARTICLES)} articles on sale, {len(SHIPPING)} ways to ship, tax rates of {len(TAX_RATES)} countries"
        )
        yield deployment


def _front_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", FRONT_PORT))
        except OSError:
            return free_ports(1)[0]
    return FRONT_PORT


def _listening_beyond_loopback() -> list[str]:
    """Every TCP address that we or our children listen on and that others could reach."""
    mine = psutil.Process()
    found = set()
    for process in (mine, *mine.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            for connection in process.net_connections("tcp"):
                address, port = connection.laddr
                if connection.status == psutil.CONN_LISTEN and not address.startswith(("127.", "::1", "::ffff:127.")):
                    found.add(f"{process.name()} {address}:{port}")
    return sorted(found)


def _interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("CI", "").lower() not in {"true", "1"}


async def _stay(deployment: Deployment, report: Report) -> None:
    token_file = deployment.folder / "operator.token"
    token_file.touch(mode=0o600)
    token_file.write_text(deployment.keys.token("demo", "operator", "admin"))
    report.heading("It stays up until you press Ctrl-C")
    urls = {
        "shop": deployment.shop_url,
        "mailbox": deployment.mailbox_url,
        "operators' console": deployment.console_url,
        **({} if deployment.account else {"Stripe (simulator)": f"{deployment.stripe_url}/_sim/truth"}),
        "RabbitMQ console": deployment.servers.management_url,
        "logs": str(deployment.folder),
    }
    for name, url in urls.items():
        report.console.print(f"  {name:<20}{url}")
    if deployment.front_port != FRONT_PORT:
        report.console.print(f"\n  Port {FRONT_PORT} is taken by somebody else; the calls of the README are here:")
        report.console.print(CALLS.format(url=deployment.front_door_url), markup=False)
    report.console.print(
        "\n  For payctl, in another terminal:\n"
        f"    export PAYMENTS_OPERATIONS_URL={deployment.internal_url('operations')}"
        f" PAYMENTS_CHECKOUT_URL={deployment.internal_url('checkout')}"
        f" PAYMENTS_REFUNDS_URL={deployment.internal_url('refunds')}"
        f" PAYMENTS_NOTIFICATIONS_URL={deployment.internal_url('notifications')}"
        f" PAYMENTS_PUBLIC_URL={deployment.front_door_url}"
        f" PAYMENTS_TOKEN_FILE={token_file}"
        f" PAYMENTS_AUDITOR_DATABASE_URL={deployment.provisioned.database_urls['auditor']}\n"
        f"    {_relative(Path(sys.executable).parent)}/payctl dlq summary"
    )
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    while not ended.is_set():
        died = [child for child in deployment.children.values() if not child.running]
        for child in died:
            report.say(f"{child.name} ended with status {child.popen.returncode}:\n{child.tail(8)}")
        if died:
            raise ChildFailed(f"{died[0].name} ended")
        if deployment.account is None:  # what was bought meanwhile is compared with Stripe, too
            await story.know_truth(deployment)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), timeout=1)
    report.console.print()


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _spans() -> dict[str, str]:
    """What the environment says of where spans go."""
    names = ("PAYMENTS_OTLP_ENDPOINT", "PAYMENTS_OTLP_SAMPLE_RATIO")
    return {name: os.environ[name] for name in names if name in os.environ}


def _account() -> StripeAccount | None:
    """The real account that the environment names, if any.

    Raises:
        SystemExit: its key is not a test key, or the secret of its endpoint is missing.
    """
    api_key, secret = os.environ.get("STRIPE_API_KEY", ""), os.environ.get("STRIPE_WEBHOOK_SECRET", "")
    if not api_key:
        return None
    if not api_key.startswith(("sk_test_", "rk_test_")):
        raise SystemExit("error: STRIPE_API_KEY must be a key of test mode; unset it to use the simulator")
    if not secret:
        raise SystemExit(
            "error: STRIPE_WEBHOOK_SECRET is missing; run: "
            "export STRIPE_WEBHOOK_SECRET=$(stripe listen --api-key $STRIPE_API_KEY --print-secret)"
        )
    return StripeAccount(api_key, secret)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> None:
    """Run the demo."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    report = Report()
    account = _account()
    passed = True
    try:
        with start_servers(say=report.say) as servers:
            if account is not None:
                asyncio.run(run_against(account, servers, report))
            else:
                passed = asyncio.run(run(servers, report))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    except (ChildFailed, NotInTime, RuntimeError) as error:
        if report.checks:
            report.table()
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
