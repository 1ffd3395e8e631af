"""Take a deployment off servers that outlive it: its database, vhost, logins and users."""

from urllib.parse import quote, unquote, urlsplit

import aiohttp
import asyncpg

from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.provision import AUDITOR, SANDBOX
from sandbox.services.resolver import Servers


async def remove_deployment(servers: Servers, *, namespace: str, prefix: str) -> None:
    """Remove what `provision` made under `namespace`, all of which must be at rest. Harmless to repeat."""
    admin = await asyncpg.connect(servers.admin_dsn, timeout=10)
    try:
        await admin.execute(f'DROP DATABASE IF EXISTS "{namespace}" WITH (FORCE)')
        for name in (*SERVICES, AUDITOR, SANDBOX):
            await admin.execute(f'DROP ROLE IF EXISTS "{prefix}{schema_name(name)}"')
    finally:
        await admin.close()
    parts = urlsplit(servers.management_url)
    base = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}/api"
    login = aiohttp.encode_basic_auth(unquote(parts.username or ""), unquote(parts.password or ""))
    async with aiohttp.ClientSession(headers={"Authorization": login}, timeout=aiohttp.ClientTimeout(total=30)) as http:
        paths = [f"/vhosts/{quote(namespace, safe='')}", *(f"/users/{quote(prefix + name)}" for name in SERVICES)]
        for path in paths:
            async with http.delete(base + path) as answer:
                if answer.status not in (204, 404):
                    raise RuntimeError(f"broker management refused to delete {path}: {answer.status}")
