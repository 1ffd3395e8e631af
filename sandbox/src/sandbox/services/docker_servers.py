"""PostgreSQL and RabbitMQ in containers, where a Docker engine answers."""

import contextlib
import secrets
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator

from sandbox.services.rabbitmq_server import DEAD_LETTERED_AGAIN_MS

POSTGRES_IMAGE = "postgres:17"
RABBITMQ_IMAGE = "rabbitmq:4-management"


@contextlib.contextmanager
def started() -> Iterator[tuple[str, str, str]]:
    """Administrators' URLs of both, published on the loopback only."""
    from testcontainers.core.container import DockerContainer

    password = secrets.token_hex(16)
    postgres = (
        DockerContainer(POSTGRES_IMAGE)
        .with_env("POSTGRES_USER", "payments")
        .with_env("POSTGRES_PASSWORD", password)
        .with_command("postgres -c max_connections=300 -c fsync=off")
        .with_kwargs(ports={"5432/tcp": ("127.0.0.1", None)})
    )
    rabbitmq = (
        DockerContainer(RABBITMQ_IMAGE)
        .with_env("RABBITMQ_DEFAULT_USER", "payments")
        .with_env("RABBITMQ_DEFAULT_PASS", password)
        .with_env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            f"-rabbit dead_letter_worker_publisher_confirm_timeout {DEAD_LETTERED_AGAIN_MS}",
        )
        .with_kwargs(ports={"5672/tcp": ("127.0.0.1", None), "15672/tcp": ("127.0.0.1", None)})
    )
    with postgres, rabbitmq:
        pg_port = postgres.get_exposed_port(5432)
        amqp_port = rabbitmq.get_exposed_port(5672)
        management = f"http://payments:{password}@127.0.0.1:{rabbitmq.get_exposed_port(15672)}"
        _wait_for_management(rabbitmq.get_exposed_port(15672), password)
        yield (
            f"postgresql://payments:{password}@127.0.0.1:{pg_port}/postgres",
            f"amqp://payments:{password}@127.0.0.1:{amqp_port}/",
            management,
        )


def _wait_for_management(port: int, password: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/health/checks/local-alarms")
    request.add_header("Authorization", "Basic " + b64encode(f"payments:{password}".encode()).decode())
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
