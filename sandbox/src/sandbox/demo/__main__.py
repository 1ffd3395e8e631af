"""`python -m sandbox.demo`: everything on this machine, one purchase, and the proof. Exit status 0 when all holds."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import psutil

from payments_shared.contracts.catalog import SERVICES
from sandbox.demo import story
from sandbox.demo.customer import Customer, NotInTime
from sandbox.demo.report import Report
from sandbox.services.children import ChildFailed, free_ports
from sandbox.services.deployment import SANDBOX, Deployment, deploy
from sandbox.services.resolver import Servers, ServersUnavailable, start_servers
from sandbox.shop.catalogue import ARTICLES, seed

FRONT_PORT: Final = 8080


async def run(servers: Servers, report: Report) -> bool:
    """Start, tell, check; on a terminal stay until Ctrl-C. Whether all checks hold."""
    namespace = f"demo_{secrets.token_hex(3)}"
    async with deploy(servers, namespace=namespace, front_port=_front_port(), say=report.say) as deployment:
        report.say(f"ready: {len(SERVICES)} services, {len(SANDBOX)} programs of the sandbox")
        await seed(
            checkout_url=deployment.internal_url("checkout"),
            inventory_url=deployment.internal_url("inventory"),
            token=lambda: deployment.keys.token("demo", "admin"),
        )
        report.say(f"{len(ARTICLES)} articles on sale")
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
        "Stripe (simulator)": f"{deployment.stripe_url}/_sim/truth",
        "RabbitMQ console": deployment.servers.management_url,
        "logs": str(deployment.folder),
    }
    for name, url in urls.items():
        report.console.print(f"  {name:<20}{url}")
    report.console.print(
        "\n  For payctl, in another terminal:\n"
        f"    export PAYMENTS_OPERATIONS_URL={deployment.internal_url('operations')}"
        f" PAYMENTS_TOKEN_FILE={token_file}"
        f" PAYMENTS_AUDITOR_DATABASE_URL={deployment.provisioned.database_urls['auditor']}\n"
        f"    {_relative(Path(sys.executable).parent)}/payctl dlq summary"
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, ended.set)
    while not ended.is_set():
        died = [child for child in deployment.children.values() if not child.running]
        for child in died:
            report.say(f"{child.name} ended with status {child.popen.returncode}:\n{child.tail(8)}")
        if died:
            raise ChildFailed(f"{died[0].name} ended")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), timeout=1)
    report.console.print()


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> None:
    """Run the demo."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    report = Report()
    try:
        with start_servers(say=report.say) as servers:
            passed = asyncio.run(run(servers, report))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    except (ChildFailed, NotInTime, RuntimeError) as error:
        report.table()
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
