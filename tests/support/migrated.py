"""A database that is migrated once for a whole run; the databases of its deployments are copies.

The migrations run when it is made, and again wherever a fault starts servers of its own. That a copy is what they make
is proven in `tests/shared/test_copies.py`.
"""

import asyncio
import os
import secrets
from dataclasses import replace
from typing import Final

from payments_shared.provision import provision
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers

VARIABLE: Final = "PAYMENTS_MIGRATED_DATABASE"  # by which workers know it


def migrate_once(servers: Servers) -> None:
    """Make it."""
    name = "migrated_" + secrets.token_hex(4)
    made = provision(
        admin_dsn=servers.admin_dsn, management_url=servers.management_url, amqp_url=servers.amqp_url,
        database=name, vhost=name, prefix=f"{name}_", with_sandbox=True,
    )  # fmt: skip
    asyncio.run(made)
    os.environ[VARIABLE] = name


def with_migrated(servers: Servers) -> Servers:
    """The run's servers, with it if it was made."""
    return replace(servers, template=os.environ.get(VARIABLE))


def remove(servers: Servers) -> None:
    """Remove it: the servers may outlive the run."""
    if name := os.environ.pop(VARIABLE, None):
        asyncio.run(remove_deployment(servers, namespace=name, prefix=f"{name}_"))
