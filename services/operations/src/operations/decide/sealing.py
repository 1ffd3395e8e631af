"""How a person's token for the services is kept, so that only his own browser opens it. Pure.

The key follows from the session's token, of which only the hash is kept. A session has one such text, and so a key
seals once: AES-GCM needs no other nonce than a fixed one (NIST SP 800-38D section 8.2 asks that none repeats under a
key).
"""

import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE: Final = bytes(12)


def sealed(session_token: str, text: str) -> bytes:
    """`text`, to be kept beside the session."""
    return AESGCM(_key(session_token)).encrypt(_NONCE, text.encode(), None)


def opened(session_token: str, kept: bytes) -> str | None:
    """What was sealed; None when it was under another session's token, or was changed."""
    try:
        return AESGCM(_key(session_token)).decrypt(_NONCE, kept, None).decode()
    except (InvalidTag, ValueError):
        return None


def _key(session_token: str) -> bytes:
    return hmac.new(session_token.encode(), b"access", hashlib.sha256).digest()
