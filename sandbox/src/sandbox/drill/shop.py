"""What the drill does in the shop, and how it looks at the whole of it."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg

from operations.audit import Report as Found
from operations.audit import run_audit
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.provision import provision
from sandbox.demo.customer import Customer, Json, wait_for
from sandbox.drill.past import truth_of_past
from sandbox.services.deployment import Deployment
from sandbox.truth import Rows, fetch_truth, store_truth

AT_REST: Final = frozenset({"I21", "I22", "I23", "I25"})
LINES: Final = ({"sku": "MUG-CLAY", "quantity": 1},)
CODE: Final = "DRILL-ANY"
"""What buyers type: it stands for a coupon that each may use a few times."""
SETTLED_SECONDS: Final = 120.0


@dataclass(slots=True)
class Shop:
    """One deployment, its customer, and what happened in it before, which no simulator knows."""

    deployment: Deployment
    customer: Customer
    retry_tiers_ms: Sequence[int]
    past: dict[str, Rows] = field(default_factory=dict)

    @property
    def owner_url(self) -> str:
        return self.deployment.provisioned.owner_database_url

    async def remember(self) -> None:
        """Learn the past, for the audit."""
        self.past = await truth_of_past(self.owner_url)

    # -- buying ------------------------------------------------------------------------------------------------------

    async def place(self, name: str, count: int) -> list[Json]:
        """So many orders by different people."""
        emails = [f"{name}{number}@example.com" for number in range(count)]
        return [await self.customer.place(list(LINES), email=email, coupon=CODE) for email in emails]

    async def pay(self, orders: Sequence[Json]) -> None:
        """Pay them at Stripe's page.

        Raises:
            RuntimeError: a payment was not taken.
        """
        for order in orders:
            if (status := await self.customer.pay(order)) != 303:
                raise RuntimeError(f"the hosted page answered {status}")

    # -- looking -----------------------------------------------------------------------------------------------------

    async def message_ids(self) -> list[str]:
        """Of all mails that the mail server took, one for each."""
        url = f"{self.deployment.mailbox_url}/api/messages"
        async with self.customer.http.get(url) as answer:
            return [mail["message_id"] for mail in (await answer.json())["messages"]]

    async def mails_of(self, orders: Sequence[Json]) -> list[int]:
        """How many mails arrived about each."""
        return [len(await self.customer.mails(order)) for order in orders]

    async def mailed(self, orders: Sequence[Json], *, times: int = 1) -> None:
        """Wait for so many mails about each."""

        async def all_there() -> bool:
            return all(found >= times for found in await self.mails_of(orders))

        await wait_for(all_there, "a mail about each order", seconds=SETTLED_SECONDS)

    async def count_paid(self, name: str) -> object:
        """How many orders of these people are paid."""
        return await self.value(f"SELECT count(*) FROM checkout.orders WHERE email LIKE '{name}%' AND state = 'paid'")  # noqa: S608 - names of our own

    async def paid(self, name: str, count: int) -> None:
        """Wait until so many are."""

        async def all_paid() -> bool:
            return await self.count_paid(name) == count

        await wait_for(all_paid, "orders to be paid", seconds=SETTLED_SECONDS)

    async def audit(self) -> Found:
        """All predicates, compared with what Stripe and the mail server hold at this moment."""
        urls = self.deployment.provisioned.database_urls
        truth = await fetch_truth(stripe_url=self.deployment.stripe_url, mailbox_url=self.deployment.mailbox_url)
        rows = {name: [*held, *self.past.get(name, ())] for name, held in truth.items()}
        await store_truth(rows, database_url=urls["sandbox"])
        return await run_audit(urls["auditor"])

    async def at_rest(self) -> Found:
        """The audit, once nothing is under way."""
        found: list[Found] = []

        async def rests() -> bool:
            found[:] = [await self.audit()]
            return not {finding.predicate.number for finding in found[0].violated} & AT_REST

        await wait_for(rests, "everything to be heard and mailed", seconds=SETTLED_SECONDS)
        return found[0]

    async def given_up(self, orders: Sequence[Json]) -> None:
        """Wait until there is a dead letter about each."""

        async def all_there() -> bool:
            return set(await self.letters("correlation_id")) >= {order["order_id"] for order in orders}

        await wait_for(all_there, "dead letters about each order that nobody knows", seconds=SETTLED_SECONDS)

    async def resolved(self) -> None:
        """Wait until all dead letters are."""

        async def all_resolved() -> bool:
            return set(await self.letters("status")) == {"resolved"}

        await wait_for(all_resolved, "dead letters to be resolved", seconds=SETTLED_SECONDS)

    async def letters(self, column: str) -> list[str]:
        """A column of all dead letters."""
        owner = await asyncpg.connect(self.owner_url)
        try:
            found = await owner.fetch(f"SELECT {column} FROM operations.dead_letters")  # noqa: S608 - a name of our own
        finally:
            await owner.close()
        return [row[column] for row in found]

    async def all_said(self) -> None:
        """Wait until every outbox is drained, whoever has heard it."""
        waiting = " + ".join(
            f"(SELECT count(*) FROM {schema_name(name)}.outbox"  # noqa: S608 - names of our own
            " WHERE published_at IS NULL AND available_at <= payments.business_now())"
            for name in SERVICES
        )

        async def drained() -> bool:
            return await self.value(f"SELECT {waiting}") == 0

        await wait_for(drained, "outboxes to drain", seconds=SETTLED_SECONDS)

    async def value(self, sql: str, *given: object) -> object:
        """What the owner of the database sees."""
        owner = await asyncpg.connect(self.owner_url)
        try:
            return await owner.fetchval(sql, *given)
        finally:
            await owner.close()

    # -- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, method: str, url: str, body: object | None, headers: Mapping[str, str]) -> Json:
        """What a service or the simulator answers.

        Raises:
            RuntimeError: it refuses.
        """
        async with self.customer.http.request(method, url, json=body, headers=headers) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{method} {url} answered {answer.status}: {await answer.text()}")
            told: Json = await answer.json()
            return told

    async def stripe(self, method: str, path: str, body: object | None = None) -> Json:
        """The same of Stripe's simulator: its API, and what may be done to it."""
        key = {"Authorization": "Bearer sk_test_drill"}
        return await self.ask(method, self.deployment.stripe_url + path, body, key)

    # -- operating ---------------------------------------------------------------------------------------------------

    async def provision_again(self) -> None:
        """As the job of a deployment does: what is there stays, what is missing is made."""
        made, servers = self.deployment.provisioned, self.deployment.servers
        passwords = {name: unquote(urlsplit(url).password or "") for name, url in made.database_urls.items()}
        await provision(
            admin_dsn=servers.admin_dsn,
            management_url=servers.management_url,
            amqp_url=servers.amqp_url,
            database=made.database,
            vhost=made.vhost,
            prefix=f"{made.vhost}_",
            passwords=passwords,
            retry_tiers_ms=self.retry_tiers_ms,
            with_sandbox=True,
        )

    async def payctl(self, *arguments: str) -> Json:
        """What the operator's tool answers, as JSON.

        Raises:
            RuntimeError: its status is not 0.
        """
        token = self.deployment.folder / "drill.token"
        token.touch(mode=0o600)
        token.write_text(self.deployment.keys.token("drill", "admin", "operator"))
        environment = {
            "PATH": os.environ["PATH"],
            "PAYMENTS_OWNER_DATABASE_URL": self.owner_url,
            "PAYMENTS_CHECKOUT_URL": self.deployment.internal_url("checkout"),
            "PAYMENTS_OPERATIONS_URL": self.deployment.internal_url("operations"),
            "PAYMENTS_WEBHOOK_INGEST_URL": self.deployment.internal_url("webhook-ingest"),
            "PAYMENTS_TOKEN_FILE": str(token),
        }
        command = [str(Path(sys.executable).parent / "payctl"), *arguments, "--json"]
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"payctl {' '.join(arguments[:2])} ended with {done.returncode}: {done.stderr}")
        answer: Json = json.loads(done.stdout)
        return answer


def repeated(message_ids: Sequence[str]) -> list[str]:
    """Message-IDs that the mail server took more than once."""
    return sorted(one for one, times in Counter(message_ids).items() if times > 1)
