"""How people come in, and how they leave."""

from dataclasses import dataclass
from typing import Final

import structlog

from operations.decide import sealing
from operations.decide import signing_in as decide
from operations.gateway.provider import Provider
from operations.model.identity import IdentityClaims
from operations.model.people import Access, Person
from operations.store import sessions
from payments_shared.auth import Verifier
from payments_shared.clock import utc_now
from payments_shared.errors import Refused
from payments_shared.ids import new_secret
from payments_shared.postgres import Pool, acquire
from payments_shared.sweeper import Round

SECRET_BITS: Final = 256
TOUCHED_SECONDS: Final = 60.0  # a session's row is written once in so long, however much its person clicks

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SigningIn:
    """A session ends `lifetime_seconds` after it began, and before that once nobody came for `idle_seconds`.
    `services` believes tokens as the other services do."""

    pool: Pool
    provider: Provider
    claims: IdentityClaims
    services: Verifier
    lifetime_seconds: float
    idle_seconds: float

    async def begin(self) -> tuple[str, str]:
        """Where the browser goes, and the secret that it keeps meanwhile.

        Raises:
            Retryable: the keeper of identities is away.
        """
        verifier = new_secret(SECRET_BITS)
        return decide.authorization_url(await self.provider.metadata(), self.provider.client, verifier), verifier

    async def finish(self, verifier: str, *, code: str, state: str, issuer: str | None) -> str:
        """Open a session for who comes back, and return its token.

        Raises:
            Refused: 400 `sign_in_stray`, 403 `no_role`, 502 `identity_invalid`.
            Retryable: the keeper of identities is away.
        """
        client = self.provider.client
        decide.refuse_stray(client, verifier, state=state, issuer=issuer)
        granted = await self.provider.exchange(code, verifier)
        keys = await self.provider.keys(decide.key_id_of(granted.id_token))
        claims = decide.verified(granted.id_token, keys, client, nonce=decide.nonce_of(verifier), now=utc_now())
        person = decide.person_of(claims, self.claims)
        token = new_secret(SECRET_BITS)
        access = self._usable(granted.access_token, str(claims["sub"]))
        kept = (sealing.sealed(token, access.token), access.ends_at) if access is not None else None
        async with acquire(self.pool) as connection:
            await sessions.insert(connection, decide.token_hash(token), person, self.lifetime_seconds, kept)
        log.info(
            "console.signed_in", subject=person.subject, roles=sorted(person.roles), at_services=access is not None
        )
        return token

    async def access(self, token: str) -> Access | None:
        """The own token, for the other services, of whose session `token` is; None where he was given none."""
        async with acquire(self.pool) as connection:
            kept = await sessions.sealed_access(connection, decide.token_hash(token))
        text = sealing.opened(token, kept) if kept is not None else None
        return decide.access_of(text) if text is not None else None

    def _usable(self, token: str | None, subject: str) -> Access | None:
        """What the services would take, of the very person who signed in: a token of somebody else's, or of the console
        itself, would let him act under a name that is not his."""
        if token is None:
            return None
        try:
            principal = self.services.verify(f"Bearer {token}")
        except Refused:  # many providers give what only they can read
            log.warning("console.access_unusable", subject=subject, why="no token that the services take")
            return None
        access = decide.access_of(token)
        if principal.subject != subject or access.ends_at < utc_now() + decide.ACCESS_MIN:
            why = "of somebody else" if principal.subject != subject else "too short"
            log.warning("console.access_unusable", subject=subject, why=why)
            return None
        return access

    async def person(self, token: str) -> Person | None:
        """Whose session a token is; None once it is over. What a page asks for by itself, again and again, is no sign
        that anybody is there: `present` says that."""
        async with acquire(self.pool) as connection:
            return await sessions.find(connection, decide.token_hash(token), self.idle_seconds)

    async def present(self, token: str) -> None:
        """Somebody is there: the session does not lie idle."""
        async with acquire(self.pool) as connection:
            await sessions.touch(connection, decide.token_hash(token), TOUCHED_SECONDS)

    async def leave(self, token: str) -> None:
        """End a session at once, wherever else its token may be."""
        async with acquire(self.pool) as connection:
            subject = await sessions.revoke(connection, decide.token_hash(token))
        if subject is not None:
            log.info("console.signed_out", subject=subject)

    async def forget(self) -> Round:
        """Sweep: delete sessions that are long over."""
        async with acquire(self.pool) as connection:
            await sessions.forget(connection)
        return Round()
