"""Which refusals of a mail server are about the mail, and which are about us."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from notifications.gateway import MailServer
from notifications.model import Mail, Tls
from payments_shared.errors import Retryable
from sandbox.services.children import free_ports


@pytest.fixture
def strict_port() -> Iterator[int]:
    """A mail server that knows nobody."""
    (port,) = free_ports(1)
    controller = Controller(
        object(),
        hostname="127.0.0.1",
        port=port,
        auth_require_tls=False,
        auth_required=True,
        authenticator=lambda *_: AuthResult(success=False, handled=False),
    )
    controller.start()
    yield port
    controller.stop()


MAIL = Mail(
    id=UUID(int=1), kind="order_confirmation", ref="1", order_id=None, recipient="ada@example.com",
    message_id="<1@shop.example>", subject="Yours", html="<p>Yours</p>", plain="Yours", state="sending", attempts=1,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_login_that_is_refused_or_missing_loses_no_mail(strict_port: int, password: str | None) -> None:
    username = "shop" if password else None
    server = MailServer("127.0.0.1", strict_port, "shop@example.com", Tls.OFF, username=username, password=password)

    with pytest.raises(Retryable, match="smtp_unavailable"):
        await server.send(MAIL)
