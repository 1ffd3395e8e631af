"""Make what an administrator must make, once per deployment.

That is: database, schemas and roles; vhost, broker users, exchanges and the queues of all services.
Safe to repeat and safe to run twice at once. `python -m payments_shared.provision` reads the administrator's URLs
from the environment; the sandbox and the tests call `provision`. Each service then runs with a database login that
sees only its own schema and a broker user that may say and hear only what the contracts give it.

Group roles `<schema>_app` hold the privileges and are shared by all databases of a cluster; login roles are members.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import aio_pika
import aiohttp
import asyncpg

from payments_shared import bindings, ids
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.messaging.topology import RETRY_TIERS_MS, declare_all, permissions_of
from payments_shared.migrations import load_migrations, migrate
from payments_shared.settings import EXIT_CONFIG
from payments_shared.sql import platform_sql, truth_sql

AUDITOR: Final = "auditor"
SANDBOX: Final = "sandbox"
PASSWORD_MIN: Final = 16
LOGIN_CONNECTIONS: Final = 120
"""Five processes of a service, each with a pool of twenty and what its relay, its listener and its sweeps hold."""

_LOCK: Final = "SELECT pg_advisory_lock(hashtextextended('payments:provision', 0))"


@dataclass(frozen=True, slots=True)
class Provisioned:
    """Where each service logs in. Keys are service names, plus `auditor` and `sandbox` for the database."""

    database: str
    vhost: str
    owner_database_url: str
    database_urls: Mapping[str, str]
    amqp_urls: Mapping[str, str]
    management_urls: Mapping[str, str]


async def provision(
    *,
    admin_dsn: str,
    management_url: str,
    amqp_url: str,
    database: str,
    vhost: str,
    prefix: str = "",
    passwords: Mapping[str, str] | None = None,
    retry_tiers_ms: Sequence[int] = RETRY_TIERS_MS,
    with_sandbox: bool = False,
    template: str | None = None,
) -> Provisioned:
    """Provision one deployment.

    `admin_dsn` and `amqp_url` belong to administrators; `management_url` carries its credentials. `prefix` goes
    before every login and user, so that several deployments share one server. Missing passwords are made up and are
    then known only through the result. `template` copies a migrated database instead of migrating a new one.
    `with_sandbox` adds the role that may move the business clock and write `stripe_truth`.
    """
    secrets = dict(passwords or {})
    for name in (*SERVICES, AUDITOR, SANDBOX):
        secrets.setdefault(name, ids.new_secret())
    logins = (*SERVICES, AUDITOR, *((SANDBOX,) if with_sandbox else ()))
    await _provision_database(admin_dsn, database, prefix, {name: secrets[name] for name in logins}, template)
    owner_url = _with_database(admin_dsn, database)
    if template is None:
        await migrate_database(owner_url, with_sandbox=with_sandbox)
    await provision_broker(
        management_url=management_url,
        amqp_url=amqp_url,
        vhost=vhost,
        prefix=prefix,
        passwords=secrets,
        retry_tiers_ms=retry_tiers_ms,
    )
    await bindings.made(owner_url)
    return Provisioned(
        database=database,
        vhost=vhost,
        owner_database_url=owner_url,
        database_urls={name: _with_login(owner_url, _login(prefix, name), secrets[name]) for name in logins},
        amqp_urls={name: _with_path(_with_login(amqp_url, prefix + name, secrets[name]), vhost) for name in SERVICES},
        management_urls={name: _with_login(management_url, prefix + name, secrets[name]) for name in SERVICES},
    )


def _login(prefix: str, service: str) -> str:
    return prefix + schema_name(service)


def _app_role(service: str) -> str:
    return f"{schema_name(service)}_app"


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


async def _provision_database(
    admin_dsn: str, database: str, prefix: str, passwords: Mapping[str, str], template: str | None
) -> None:
    admin = await asyncpg.connect(admin_dsn, timeout=10)
    try:
        await admin.execute(_LOCK)  # roles belong to the whole cluster: two provisioners would collide on them
        for name in (*SERVICES, AUDITOR, SANDBOX):
            await _ensure_role(admin, _app_role(name), "NOLOGIN")
        for name, password in passwords.items():
            login = _login(prefix, name)
            await _ensure_role(admin, login, "LOGIN")
            # ALTER ROLE takes no parameters; the password is quoted by the server itself.
            statement = await admin.fetchval(
                "SELECT format('ALTER ROLE %I PASSWORD %L CONNECTION LIMIT %s', $1::text, $2::text, $3::int)",
                login,
                password,
                LOGIN_CONNECTIONS,
            )
            await admin.execute(statement)
            await admin.execute(f'GRANT "{_app_role(name)}" TO "{login}"')
        if not await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
            source = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
            await admin.execute(f'CREATE DATABASE "{database}"{source}')
        await admin.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
        for name in passwords:
            await admin.execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{_login(prefix, name)}"')
    finally:
        await admin.close()


async def _ensure_role(admin: "asyncpg.Connection[asyncpg.Record]", role: str, kind: str) -> None:
    if not await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
        await admin.execute(f'CREATE ROLE "{role}" {kind} NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT')
    if kind == "LOGIN":
        await admin.execute(f'ALTER ROLE "{role}" INHERIT')


async def migrate_database(owner_url: str, *, with_sandbox: bool = False) -> None:
    """Create the schemas and bring those of all installed services up to date, as the owner of the database."""
    owner = await asyncpg.connect(owner_url, timeout=10)
    try:
        await owner.execute("SELECT pg_advisory_lock(hashtextextended('payments:schemas', 0))")
        await owner.execute(platform_sql())
        services = ", ".join(f'"{_app_role(name)}"' for name in SERVICES)
        others = ", ".join(f'"{_app_role(name)}"' for name in (AUDITOR, SANDBOX))
        await owner.execute(f"GRANT USAGE ON SCHEMA payments TO {services}, {others}")
        await owner.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA payments TO {services}")
        await owner.execute(f"GRANT EXECUTE ON FUNCTION payments.business_now() TO {others}")
        # It drops days with the rights of their owner. Releases before this one granted it to those who only read.
        await owner.execute(f"REVOKE EXECUTE ON FUNCTION payments.keep_partitions(text, int) FROM {others}")
        await owner.execute(f'GRANT SELECT, UPDATE ON payments.business_clock TO "{_app_role(SANDBOX)}"')
        await bindings.ask(owner, bindings.heard())
        await owner.execute(f'GRANT SELECT ON payments.bindings TO "{_app_role(AUDITOR)}"')
        for service in SERVICES:
            await _migrate_service(owner, service)
        if with_sandbox:
            await owner.execute(truth_sql())
    finally:
        await owner.close()


async def _migrate_service(owner: "asyncpg.Connection[asyncpg.Record]", service: str) -> None:
    schema, app = schema_name(service), _app_role(service)
    await owner.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    await owner.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO "{app}", "{AUDITOR}_app"')
    # What later migrations and partitions create is granted as it is made. DELETE is for each migration to grant.
    await owner.execute(
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA "{schema}" GRANT SELECT, INSERT, UPDATE ON TABLES TO "{app}"'
    )
    await owner.execute(f'ALTER DEFAULT PRIVILEGES IN SCHEMA "{schema}" GRANT USAGE ON SEQUENCES TO "{app}"')
    await owner.execute(f'ALTER DEFAULT PRIVILEGES IN SCHEMA "{schema}" GRANT SELECT ON TABLES TO "{AUDITOR}_app"')
    if util.find_spec(schema) is None:
        return  # only the services installed here are migrated here
    await migrate(owner, schema=schema, migrations=load_migrations(schema))
    await owner.execute(f'REVOKE INSERT, UPDATE ON "{schema}".schema_migrations FROM "{app}"')
    await owner.execute("SELECT payments.keep_partitions($1)", schema)


# -- RabbitMQ --------------------------------------------------------------------------------------------------------


async def provision_broker(
    *,
    management_url: str,
    amqp_url: str,
    vhost: str,
    prefix: str,
    passwords: Mapping[str, str],
    retry_tiers_ms: Sequence[int] = RETRY_TIERS_MS,
) -> None:
    """Make the vhost, its exchanges, all queues with their bindings, and a user per service with least permissions."""
    base, user, headers = _split_credentials(management_url)
    where = quote(vhost, safe="")
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=30)) as http:
        await _put(http, f"{base}/api/vhosts/{where}", {})
        if user:
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            await _put(http, f"{base}/api/permissions/{where}/{quote(user, safe='')}", everything)
        connection = await aio_pika.connect(_with_path(amqp_url, vhost), timeout=10)
        async with connection:
            await declare_all(await connection.channel(), retry_tiers_ms)
        users = (_provision_user(http, base, where, prefix, one, passwords[one], retry_tiers_ms) for one in SERVICES)
        await asyncio.gather(*users)


async def _provision_user(
    http: aiohttp.ClientSession,
    base: str,
    where: str,
    prefix: str,
    service: str,
    password: str,
    retry_tiers_ms: Sequence[int],
) -> None:
    user = quote(prefix + service, safe="")
    allowed = permissions_of(service, retry_tiers_ms)
    await _put(http, f"{base}/api/users/{user}", {"password": password, "tags": "management"})
    grant = {"configure": allowed.configure, "write": allowed.write, "read": allowed.read}
    await _put(http, f"{base}/api/permissions/{where}/{user}", grant)
    for exchange, write, read in allowed.topics:
        topic = {"exchange": exchange, "write": write, "read": read}
        await _put(http, f"{base}/api/topic-permissions/{where}/{user}", topic)


async def _put(http: aiohttp.ClientSession, url: str, body: object) -> None:
    async with http.put(url, json=body) as answer:
        if answer.status >= 400:
            raise RuntimeError(f"broker management refused {urlsplit(url).path}: {answer.status}")


# -- URLs ------------------------------------------------------------------------------------------------------------


def _split_credentials(url: str) -> tuple[str, str, dict[str, str]]:
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 15672}"
    user = unquote(parts.username or "")
    basic = aiohttp.encode_basic_auth(user, unquote(parts.password or ""))
    return base, user, {"Authorization": basic} if user else {}


def _with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.hostname}{port}"
    return urlunsplit(parts._replace(netloc=netloc))


def _with_database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(database, safe="")))


def _with_path(url: str, vhost: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(vhost, safe="")))


# -- command line ----------------------------------------------------------------------------------------------------

_VARIABLES: Final = (
    "PAYMENTS_ADMIN_DATABASE_URL",
    "PAYMENTS_ADMIN_AMQP_URL",
    "PAYMENTS_ADMIN_RABBITMQ_MANAGEMENT_URL",
)


def main() -> None:
    """Provision from the environment; passwords come from `PAYMENTS_PASSWORD_<SERVICE>`.

    `PAYMENTS_DATABASE_NAME` and `PAYMENTS_VHOST` name the deployment, `PAYMENTS_LOGIN_PREFIX` goes before its logins.
    What is absent, and a password of fewer than sixteen characters, ends it with status 78 and its name.
    """
    absent = [name for name in _VARIABLES if not os.environ.get(name)]
    needed = {name: f"PAYMENTS_PASSWORD_{schema_name(name).upper()}" for name in (*SERVICES, AUDITOR)}
    absent += [variable for variable in needed.values() if not os.environ.get(variable)]
    if absent:
        sys.stderr.write("set " + ", ".join(absent) + "\n")
        raise SystemExit(EXIT_CONFIG)
    if short := [variable for variable in needed.values() if len(os.environ[variable]) < PASSWORD_MIN]:
        sys.stderr.write(f"too short, {PASSWORD_MIN} characters at least: " + ", ".join(short) + "\n")
        raise SystemExit(EXIT_CONFIG)
    asyncio.run(
        provision(
            admin_dsn=os.environ[_VARIABLES[0]],
            amqp_url=os.environ[_VARIABLES[1]],
            management_url=os.environ[_VARIABLES[2]],
            database=os.environ.get("PAYMENTS_DATABASE_NAME", "payments"),
            vhost=os.environ.get("PAYMENTS_VHOST", "payments"),
            prefix=os.environ.get("PAYMENTS_LOGIN_PREFIX", ""),
            passwords={name: os.environ[variable] for name, variable in needed.items()},
        )
    )


if __name__ == "__main__":
    main()
