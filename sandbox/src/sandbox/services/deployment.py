"""The whole platform as real processes: each service with its own database login, broker user and ports."""

import contextlib
import re
import secrets
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.provision import Provisioned, provision
from sandbox.services import warm
from sandbox.services.children import Child, clean_environment, free_ports
from sandbox.services.keys import ISSUER, Keys
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers

SANDBOX: Final = ("stripe", "mailbox", "identity", "shop", "frontdoor")
PUBLIC: Final = ("checkout", "webhook-ingest", "refunds", "notifications", "operations")
CONSOLE: Final = "payments-console"  # as the identity provider knows it
SHARED_CARDS: Final = ("PAYMENTS_DECLINES_PER_BUYER", "PAYMENTS_CARDS_PER_BUYER", "PAYMENTS_DECLINES_PER_CARD")
READY_SECONDS: Final = 60.0
HEAL_SECONDS: Final = "5"  # demo and tests jump forward in time and do not wait a minute for what comes then


@dataclass(frozen=True, slots=True)
class StripeAccount:
    """A real account in test mode, in place of the simulator. The secret is that of its webhook endpoint."""

    api_key: str
    webhook_secret: str


@dataclass(slots=True)
class Deployment:
    """What runs. `ports`: internal ports of services and HTTP ports of sandbox programs; `public`: public ones.

    `detours` maps `host:port` of what services need to the `host:port` by which those started from then on reach it.
    """

    servers: Servers
    provisioned: Provisioned
    keys: Keys
    folder: Path
    ports: Mapping[str, int]
    public: Mapping[str, int]
    smtp_port: int
    secrets: Mapping[str, str]
    front_port: int
    extra: Mapping[str, str] = field(default_factory=dict)
    account: StripeAccount | None = None
    children: dict[str, Child] = field(default_factory=dict)
    detours: dict[str, str] = field(default_factory=dict)

    @property
    def front_door_url(self) -> str:
        return f"http://127.0.0.1:{self.front_port}"

    @property
    def stripe_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['stripe']}"

    @property
    def mailbox_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['mailbox']}"

    @property
    def identity_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['identity']}"

    @property
    def console_url(self) -> str:
        """Where people find the console: browsers keep its secure cookies as it is on the loopback."""
        return f"{self.public_url('operations')}/console"

    @property
    def shop_url(self) -> str:
        return f"{self.front_door_url}/shop"

    def internal_url(self, name: str) -> str:
        """The internal port of a service."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def public_url(self, name: str) -> str:
        """The public port of checkout, webhook-ingest, refunds or notifications, past the front door; of operations that
        of the console, to which no front door leads."""
        return f"http://127.0.0.1:{self.public[name]}"

    # -- processes ---------------------------------------------------------------------------------------------------

    def start(self, name: str, **environment: str) -> None:
        """Start a service or sandbox program; `environment` adds to its own."""
        module = f"sandbox.{name}" if name in SANDBOX else schema_name(name)
        settings = self._sandbox_settings(name) if name in SANDBOX else self._service_settings(name)
        self.children[name] = warm.run(
            name,
            module,
            log=self.folder / f"{name}.log",
            environment=clean_environment(**{**settings, **self.extra, **environment}),
        )

    def wait_ready(self, *names: str) -> None:
        """Wait until each of `names` (all, when none is given) says it is ready."""
        for name in names or tuple(self.children):
            path = {"stripe": "/_sim/healthz", "frontdoor": "/_door/healthz"}.get(name, "/healthz")
            path = path if name in SANDBOX else "/readyz"
            port = self.front_port if name == "frontdoor" else self.ports[name]
            ready = partial(_answers, f"http://127.0.0.1:{port}{path}")
            self.children[name].wait_until(ready, timeout_seconds=READY_SECONDS)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.children[name].kill()

    def stop(self, name: str) -> int:
        """SIGTERM and wait for the drain; the exit status."""
        return self.children[name].stop()

    def stop_all(self) -> None:
        """Stop everything: first who takes requests, then the services, then what they need."""
        order = ["frontdoor", "shop", *SERVICES, "identity", "stripe", "mailbox"]
        for name in order:
            if (child := self.children.get(name)) is not None and child.running:
                child.popen.terminate()
        for name in order:
            if (child := self.children.get(name)) is not None:
                child.stop(timeout_seconds=20)

    # -- settings ----------------------------------------------------------------------------------------------------

    def _service_settings(self, name: str) -> dict[str, str]:
        common = {
            "PAYMENTS_DATABASE_URL": self.provisioned.database_urls[name],
            "PAYMENTS_AMQP_URL": self.provisioned.amqp_urls[name],
            "PAYMENTS_MANAGEMENT_URL": self.provisioned.management_urls[name],
            "PAYMENTS_INTERNAL_PORT": str(self.ports[name]),
            "PAYMENTS_JWKS_FILE": str(self.keys.jwks_file),
            "PAYMENTS_JWT_ISSUER": ISSUER,
        }
        if name in self.public:
            common["PAYMENTS_PUBLIC_PORT"] = str(self.public[name])
        stripe = {"PAYMENTS_STRIPE_API_KEY": self.secrets["stripe_key"]}
        webhooks = {"PAYMENTS_STRIPE_WEBHOOK_SECRETS": self.secrets["webhook"]}
        if not self.account:
            made_on = utc_now().date().isoformat()
            stripe |= {"PAYMENTS_STRIPE_API_BASE": self.stripe_url, "PAYMENTS_STRIPE_API_KEY_CREATED_ON": made_on}
            webhooks["PAYMENTS_STRIPE_WEBHOOK_SECRETS_CREATED_ON"] = made_on
        own = {
            "webhook-ingest": {**stripe, **webhooks},
            "checkout": {
                **stripe,
                "PAYMENTS_HEAL_SECONDS": HEAL_SECONDS,
                "PAYMENTS_RATES_SECONDS": HEAL_SECONDS,
                **({} if self.account else {"PAYMENTS_RATES_URL": f"{self.stripe_url}/_sim/rates/eurofxref-daily.xml"}),
                "PAYMENTS_INVENTORY_URL": self.internal_url("inventory"),
                "PAYMENTS_SERVICE_KEY_FILE": str(self.keys.checkout_key_file),
                "PAYMENTS_SECRET": self.secrets["checkout"],
                "PAYMENTS_SHOP_ORIGIN": self.front_door_url,
                "PAYMENTS_SUCCESS_PATH": "/shop/success",
                "PAYMENTS_CANCEL_PATH": "/shop/cart",
                "PAYMENTS_METHODS_PATH": "/shop/account",
                # Everybody pays with the same few test cards, and many as the same buyer.
                **dict.fromkeys(SHARED_CARDS, "0"),
            },
            # Without a secret, cards are not kept: everybody pays with the same few.
            "refunds": {**stripe, "PAYMENTS_HEAL_SECONDS": HEAL_SECONDS},
            "notifications": {
                "PAYMENTS_SMTP_HOST": "127.0.0.1",
                "PAYMENTS_SMTP_PORT": str(self.smtp_port),
                "PAYMENTS_SMTP_TLS": "off",
                "PAYMENTS_SHOP_URL": self.shop_url,
                "PAYMENTS_PUBLIC_URL": self.front_door_url,
                "PAYMENTS_SECRET": self.secrets["mail"],
                "PAYMENTS_INVITED_SECONDS": "0",  # one buyer leaves many carts in demo and tests
            },
            "operations": {
                "PAYMENTS_CONSOLE_URL": self.public_url("operations"),
                "PAYMENTS_OIDC_ISSUER": self.identity_url,
                "PAYMENTS_OIDC_CLIENT_ID": CONSOLE,
                "PAYMENTS_OIDC_CLIENT_SECRET": self.secrets["console"],
                "PAYMENTS_SERVICE_URLS": ",".join(f"{one}={self.internal_url(one)}" for one in SERVICES),
                "PAYMENTS_STAFF_URL": self.public_url("refunds"),
            },
        }
        return {key: self._rerouted(value) for key, value in (common | own.get(name, {})).items()}

    def _rerouted(self, value: str) -> str:
        for direct, detour in self.detours.items():
            value = re.sub(rf"{re.escape(direct)}\b", detour, value)
        return value

    def _sandbox_settings(self, name: str) -> dict[str, str]:
        prefix = f"SANDBOX_{name.upper()}_"
        data = self.folder / "data" / name
        data.mkdir(parents=True, exist_ok=True)
        values = {
            "stripe": {
                "PORT": str(self.ports["stripe"]),
                "PUBLIC_URL": self.stripe_url,
                "DATA_DIR": str(data),
                "WEBHOOK_URL": f"{self.front_door_url}/api/payments/webhook",
                "WEBHOOK_SECRET": self.secrets["webhook"],
            },
            "mailbox": {
                "SMTP_PORT": str(self.smtp_port),
                "HTTP_PORT": str(self.ports["mailbox"]),
                "DATA_DIR": str(data),
            },
            "identity": {
                "PORT": str(self.ports["identity"]),
                "PUBLIC_URL": self.identity_url,
                "CLIENT_ID": CONSOLE,
                "CLIENT_SECRET": self.secrets["console"],
                "REDIRECT_URI": f"{self.console_url}/signed-in",
                "KEY_FILE": str(self.keys.people_key_file),
            },
            "shop": {
                "PORT": str(self.ports["shop"]),
                "API_URL": self.front_door_url,
                "CHECKOUT_ADMIN_URL": self.internal_url("checkout"),
                "INVENTORY_ADMIN_URL": self.internal_url("inventory"),
                "KEY_FILE": str(self.keys.people_key_file),
                "SECRET": self.secrets["shop"],
                "OTLP_ENDPOINT": self.extra.get("PAYMENTS_OTLP_ENDPOINT", ""),
            },
            "frontdoor": {
                "PORT": str(self.front_port),
                "CHECKOUT_URL": self.public_url("checkout"),
                "INGEST_URL": self.public_url("webhook-ingest"),
                "REFUNDS_URL": self.public_url("refunds"),
                "NOTIFICATIONS_URL": self.public_url("notifications"),
                "SHOP_URL": f"http://127.0.0.1:{self.ports['shop']}",
            },
        }
        return {prefix + key: value for key, value in values[name].items()}


@contextlib.asynccontextmanager
async def deploy(
    servers: Servers,
    *,
    namespace: str,
    names: Sequence[str] = (*SANDBOX, *SERVICES),
    front_port: int | None = None,
    retry_tiers_ms: Sequence[int] = (300, 1_000, 3_000),
    extra: Mapping[str, str] | None = None,
    account: StripeAccount | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Deployment]:
    """Provision `namespace` on `servers`, start `names`, and stop everything at the end of the block.

    With an `account` the services talk to Stripe itself, and the simulator is not started.
    """
    names = [name for name in names if not (account and name == "stripe")]
    say("provisioning: database, schemas, roles, vhost, users, exchanges, queues")
    provisioned = await provision(
        admin_dsn=servers.admin_dsn,
        management_url=servers.management_url,
        amqp_url=servers.amqp_url,
        database=namespace,
        vhost=namespace,
        prefix=f"{namespace}_",
        retry_tiers_ms=retry_tiers_ms,
        with_sandbox=True,
        template=servers.template,
    )
    programs = [*SERVICES, *SANDBOX]
    *numbers, smtp, front = free_ports(len(programs) + len(PUBLIC) + 2)
    folder = Path(tempfile.mkdtemp(prefix=f"pay-{namespace}-"))
    tiers = ",".join(str(ms) for ms in retry_tiers_ms)
    deployment = Deployment(
        servers=servers,
        provisioned=provisioned,
        keys=Keys.make(folder / "keys"),
        folder=folder,
        ports=dict(zip(programs, numbers, strict=False)),
        public=dict(zip(PUBLIC, numbers[len(programs) :], strict=True)),
        smtp_port=smtp,
        secrets={
            "stripe_key": account.api_key if account else "sk_test_" + secrets.token_hex(16),
            "webhook": account.webhook_secret if account else "whsec_" + secrets.token_hex(16),
            "checkout": secrets.token_hex(32),
            "mail": secrets.token_hex(32),
            "shop": secrets.token_hex(32),
            "console": secrets.token_hex(16),
        },
        front_port=front_port or front,
        extra={"PAYMENTS_RETRY_TIERS_MS": tiers, **(extra or {})},
        account=account,
    )
    try:
        for name in names:
            deployment.start(name)
        say("starting: " + ", ".join(names))
        deployment.wait_ready(*names)
        yield deployment
    finally:
        deployment.stop_all()
        shutil.rmtree(folder, ignore_errors=True)
        if servers.postgres is None:  # servers that are not our children live on
            await remove_deployment(servers, namespace=namespace, prefix=f"{namespace}_")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback processes
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
