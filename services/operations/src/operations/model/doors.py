"""Ways in that speak TLS, and their certificates."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Door:
    """A way in that speaks TLS: the name under which it is known here, where it listens, and as whom it is asked."""

    name: str
    host: str
    port: int
    tls_name: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """From when until when a certificate is valid."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class DoorState:
    """What was seen of a way in: whether it shows a certificate, and from when to when the last one is valid, if there
    ever was one."""

    name: str
    shown: bool
    begins: datetime | None = None
    ends: datetime | None = None
