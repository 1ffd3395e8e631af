"""Mails, and the login with which they are handed over, are read by nobody on the way."""

import contextlib
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from notifications.gateway import MailServer
from notifications.model import Mail, Tls
from payments_shared.clock import utc_now
from payments_shared.errors import Retryable
from payments_shared.ids import new_id
from sandbox.services.children import free_ports

MAIL = Mail(new_id(), "test", "1", None, "ada@example.com", "<1@shop.example>", "Hello", "<p>", "Hello", "sending", 1)


def certificate(folder: Path, address: str) -> Path:
    """A certificate for an address, with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - timedelta(hours=1))
        .not_valid_after(utc_now() + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{address}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


@dataclass
class Postbox:
    """What the mail server was handed, and whether the connection was encrypted then."""

    port: int = 0
    mails: list[tuple[str, bool]] = field(default_factory=list)
    logins: list[tuple[bytes, bytes, bool]] = field(default_factory=list)

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append((envelope.rcpt_tos[0], session.ssl is not None))
        return "250 taken"

    def let_in(self, _: SMTP, session: Session, __: Envelope, ___: str, said: LoginPassword) -> AuthResult:
        self.logins.append((said.login, said.password, session.ssl is not None))
        return AuthResult(success=True)


class Implicit(Controller):
    """Encrypted from the first byte: the connection's own state says so, and not STARTTLS."""

    def factory(self) -> SMTP:
        """What talks to one caller."""
        return SMTP(self.handler, auth_require_tls=False, authenticator=self.handler.let_in)


@contextlib.contextmanager
def a_server(tls: Tls, file: Path | None) -> Iterator[Postbox]:
    """A mail server that encrypts as `tls` says, with the certificate of `file`."""
    (port,), postbox, context = free_ports(1), Postbox(), None
    if file is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
    if tls is Tls.IMPLICIT:
        controller: Controller = Implicit(postbox, hostname="127.0.0.1", port=port, ssl_context=context)
    else:
        controller = Controller(
            postbox,
            hostname="127.0.0.1",
            port=port,
            tls_context=context,
            auth_require_tls=context is not None,
            authenticator=postbox.let_in,
        )
    controller.start()
    postbox.port = port
    yield postbox
    controller.stop()


async def test_after_starttls_the_login_and_the_mail_go_encrypted(tmp_path: Path) -> None:
    file = certificate(tmp_path, "127.0.0.1")

    with a_server(Tls.STARTTLS, file) as postbox:
        await MailServer("127.0.0.1", postbox.port, "shop@example.com", Tls.STARTTLS, file, "shop", "c4n4ry").send(MAIL)

    assert postbox.mails == [("ada@example.com", True)]
    assert postbox.logins == [(b"shop", b"c4n4ry", True)]


async def test_a_server_may_be_encrypted_from_the_first_byte(tmp_path: Path) -> None:
    file = certificate(tmp_path, "127.0.0.1")

    with a_server(Tls.IMPLICIT, file) as postbox:
        server = MailServer("127.0.0.1", postbox.port, "shop@example.com", Tls.IMPLICIT, file)
        await server.ask()
        await server.send(MAIL)

    assert [to for to, _ in postbox.mails] == ["ada@example.com"]


async def test_who_offers_no_encryption_is_told_nothing() -> None:
    """Whoever sits in between can take the offer out of the server's answer."""
    with a_server(Tls.OFF, None) as postbox:
        server = MailServer("127.0.0.1", postbox.port, "shop@example.com", Tls.STARTTLS, None, "shop", "c4n4ry")
        with pytest.raises(Retryable, match="smtp_unavailable"):
            await server.send(MAIL)
        with pytest.raises(Retryable, match="smtp_unavailable"):
            await server.ask()

    assert (postbox.mails, postbox.logins) == ([], [])


@pytest.mark.parametrize(("shown", "known"), [("127.0.0.1", None), ("127.0.0.2", "127.0.0.2")])
async def test_who_is_somebody_else_or_known_to_nobody_is_told_nothing(
    tmp_path: Path, shown: str, known: str | None
) -> None:
    file = certificate(tmp_path, shown)

    for tls in (Tls.STARTTLS, Tls.IMPLICIT):
        with a_server(tls, file) as postbox:
            server = MailServer("127.0.0.1", postbox.port, "shop@example.com", tls, file if known else None, "a", "b")
            with pytest.raises(Retryable, match="smtp_unavailable"):
                await server.send(MAIL)
        assert (postbox.mails, postbox.logins) == ([], [])
