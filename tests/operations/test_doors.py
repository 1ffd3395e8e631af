"""Certificates are looked at, whoever signed them, and also once they have ended."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr, ValidationError

from operations.gateway.doors import knock
from operations.model.doors import Certificate, Door
from operations.settings import Settings

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


def signed_by_itself(folder: Path, begins: datetime, ends: datetime) -> ssl.SSLContext:
    """What a server speaks TLS with, for the name shop.test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{ends:%Y}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@asynccontextmanager
async def a_door(context: ssl.SSLContext | None) -> AsyncIterator[tuple[Door, list[str | None]]]:
    """A door, and the names under which it was asked."""
    asked: list[str | None] = []

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        asked.append(name)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    if context is not None:
        context.sni_callback = note
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield Door("shop", "127.0.0.1", server.sockets[0].getsockname()[1], "shop.test"), asked


@pytest.mark.parametrize("ends", [NOON + timedelta(days=90), datetime(2020, 1, 1, tzinfo=UTC)])
async def test_a_certificate_is_read_under_its_name(tmp_path: Path, ends: datetime) -> None:
    begins = ends - timedelta(days=90)
    async with a_door(signed_by_itself(tmp_path, begins, ends)) as (door, asked):
        assert await knock(door) == Certificate(begins, ends)

    assert asked == ["shop.test"]


async def test_a_door_that_speaks_no_tls_or_is_closed_shows_nothing() -> None:
    async with a_door(None) as (door, _):
        assert await knock(door) is None

    assert await knock(door) is None


def settings(doors: str) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://x@y/z"),
        amqp_url=SecretStr("amqp://x@y/z0000"),
        watched_doors=doors,  # as it stands in the environment
    )


def test_doors_are_named_in_one_line() -> None:
    assert settings("shop=pay.example.com:443, console=ops.example.com@10.0.0.7:8443").watched_doors == (
        Door("shop", "pay.example.com", 443, "pay.example.com"),
        Door("console", "10.0.0.7", 8443, "ops.example.com"),
    )
    assert settings("").watched_doors == ()


@pytest.mark.parametrize("doors", ["shop", "shop=pay.example.com", "Shop=a:1", "shop=a:b", "shop=a b:443"])
def test_what_is_no_door_is_refused(doors: str) -> None:
    with pytest.raises(ValidationError, match="must be a list of doors"):
        settings(doors)
