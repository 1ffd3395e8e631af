"""What certificates doors show to whoever knocks."""

import asyncio
import ssl
from typing import Final

from cryptography import x509

from operations.model.doors import Certificate, Door

KNOCK_SECONDS: Final = 5.0


async def knock(door: Door) -> Certificate | None:
    """The certificate that `door` shows for its name, valid or not; None while it cannot be reached."""
    try:
        async with asyncio.timeout(KNOCK_SECONDS):
            _, writer = await asyncio.open_connection(
                door.host, door.port, ssl=_whatever_is_shown(), server_hostname=door.tls_name
            )
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError
        return None
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    certificate = x509.load_der_x509_certificate(shown)
    return Certificate(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _whatever_is_shown() -> ssl.SSLContext:
    """Nothing is said to the door, and of a certificate that has ended its end is wanted most of all."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
