"""Stripe, called so that every outcome is one of three: an answer, a refusal, or unknown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import aiohttp
import stripe
import structlog

from payments_shared import metrics, tracing
from payments_shared.clock import monotonic_seconds
from payments_shared.errors import PaymentsError, Retryable

STRIPE_VERSION: Final = (
    "2026-08-26.dahlia"  # webhook-ingest keeps a copy, so as not to load the SDK; a test compares them
)
TOTAL_DEADLINE_SECONDS: Final = 10.0
CONNECT_TIMEOUT_SECONDS: Final = 2.0
TRY_TIMEOUT_SECONDS: Final = 6.0
BREAKER_FAILURES: Final = 5
BREAKER_OPEN_SECONDS: Final = 5.0
_SAYS_NOTHING: Final = (401, 403, 408, 409, 429)  # of what was asked; a key that is wrong or may not is our own fault

log = structlog.get_logger(__name__)
T = TypeVar("T")


class StripeRefused(PaymentsError):
    """Stripe said no, definitely: nothing was done. `code` is Stripe's own, or its error type.

    `intent` is the payment intent that a declined charge has left behind.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int,
        param: str | None = None,
        intent: Mapping[str, Any] | None = None,  # Any: Stripe's own shape
    ) -> None:
        super().__init__(code, detail)
        self.status = status
        self.param = param
        self.intent = intent

    def says_missing(self, param: str) -> bool:
        """Whether Stripe knows no object of the id that was given as `param`."""
        return self.code == "resource_missing" and self.param == param


class OutcomeUnknown(Retryable):
    """The call may or may not have taken effect. Repeat it with the same key, or ask; never assume.

    `status` is the HTTP status, None when there was no answer.
    """

    def __init__(self, detail: str, *, status: int | None = None, retry_after_seconds: int = 2) -> None:
        super().__init__("stripe_unavailable", detail, retry_after_seconds=retry_after_seconds)
        self.status = status

    @property
    def stored_under_key(self) -> bool:
        """Whether Stripe keeps this answer under the key, so that the same key cannot succeed any more.

        Source: Stripe API, "Idempotent requests": the result is saved "regardless of whether it succeeds or fails",
        500 errors included.
        """
        return self.status == 500


@contextlib.contextmanager
def refused_as_unknown() -> Iterator[None]:
    """Where Stripe is asked what there is, a refusal tells nothing about it."""
    try:
        yield
    except StripeRefused as refusal:
        raise OutcomeUnknown("Stripe refuses to say what there is.", status=refusal.status) from refusal


@contextlib.contextmanager
def only_asked() -> Iterator[None]:
    """Where Stripe is asked what there is before anything is made. Whatever comes instead of an answer tells nothing,
    and stands under no key: a 500 here is no reason to use another one."""
    try:
        yield
    except OutcomeUnknown as unknown:
        raise OutcomeUnknown(unknown.detail, retry_after_seconds=unknown.retry_after_seconds) from unknown
    except StripeRefused as refusal:
        raise OutcomeUnknown("Stripe refuses to say what there is.") from refusal


class StripeHTTP(stripe.AIOHTTPClient):
    """Reads the body inside the guarded block, so that a body cut short counts as a connection error."""

    async def request_async(self, method: str, url: str, headers: Any, post_data: Any = None) -> tuple[Any, int, Any]:
        args, kwargs = self._get_request_args_kwargs(method, url, headers, post_data)
        try:
            async with self._session.request(*args, **kwargs) as response:
                return await response.read(), response.status, response.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._handle_request_error(error)  # raises APIConnectionError with should_retry


@dataclass(slots=True)
class Stripe:
    """One client per process, made inside its running loop. `v1` is the SDK's own tree of services."""

    client: stripe.StripeClient
    _failures: int = 0
    _open_until: float = 0.0

    @property
    def v1(
        self,
    ) -> Any:  # Any: the SDK's generated services; their parameters are judged by Stripe's specification
        return self.client.v1

    @property
    def resting(self) -> bool:
        """Whether calls are refused at once, since the last ones had no answer."""
        return monotonic_seconds() < self._open_until

    async def call(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        """Make one call within ten seconds.

        Raises:
            StripeRefused: a definite 4xx.
            OutcomeUnknown: timeout, connection, 5xx, 409, 429, or the breaker is open (then nothing was sent).
        """
        if self.resting:
            metrics.STRIPE_CALLS.labels(operation, "rested").inc()
            raise OutcomeUnknown("Stripe is not answering at the moment.", retry_after_seconds=5)
        started = monotonic_seconds()
        try:
            with tracing.calling("stripe", operation):
                async with asyncio.timeout(TOTAL_DEADLINE_SECONDS):
                    answer = await request()
        except (stripe.StripeError, TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._named(operation, error) from error
        finally:
            metrics.STRIPE_CALL_SECONDS.labels(operation).observe(monotonic_seconds() - started)
        self._answered(operation, "ok")
        return answer

    async def ask(self) -> None:
        """Whether Stripe answers; a refusal is an answer too, as to a key that may not read this list.

        Raises:
            OutcomeUnknown: it does not, or knows no such key.
        """
        try:
            await self.call("ask", lambda: self.v1.events.list_async({"limit": 1}))
        except StripeRefused:
            return
        except OutcomeUnknown as unknown:
            if unknown.status != 403:
                raise

    def _answered(self, operation: str, outcome: Literal["ok", "refused"]) -> None:
        self._failures = 0
        metrics.STRIPE_BREAKER_OPEN.set(0)
        metrics.STRIPE_CALLS.labels(operation, outcome).inc()

    def _named(self, operation: str, error: Exception) -> StripeRefused | OutcomeUnknown:
        status = getattr(error, "http_status", None)
        definite = isinstance(status, int) and 400 <= status < 500 and status not in _SAYS_NOTHING
        if definite and isinstance(error, stripe.StripeError):
            self._answered(operation, "refused")
            body = error.error
            code = getattr(body, "code", None) or getattr(body, "type", None) or "stripe_error"
            param = getattr(body, "param", None)
            intent = getattr(body, "payment_intent", None)
            return StripeRefused(
                str(code),
                str(error.user_message or error),
                status=int(status or 0),
                param=param,
                intent=intent.to_dict() if isinstance(intent, stripe.PaymentIntent) else None,
            )
        metrics.STRIPE_CALLS.labels(operation, "unknown").inc()
        log.warning("stripe.unknown", operation=operation, status=status, error=type(error).__name__)
        if _is_kept(error):
            self._failures = 0
        elif status not in (403, 409):
            self._failures += 1
        if self._failures >= BREAKER_FAILURES:
            self._open_until = monotonic_seconds() + BREAKER_OPEN_SECONDS
            metrics.STRIPE_BREAKER_OPEN.set(1)
        return OutcomeUnknown("Stripe did not answer in time.", status=status)


def _is_kept(error: Exception) -> bool:
    """Whether this is what Stripe said once and keeps under the key. Then Stripe is there now, and has to be asked what
    there is before another key is used: to count it as silence would refuse that question."""
    return isinstance(error, stripe.StripeError) and (error.headers or {}).get("Idempotent-Replayed") == "true"


@contextlib.asynccontextmanager
async def open_stripe(*, api_key: str, api_base: str | None = None) -> AsyncIterator[Stripe]:
    """The client. `api_base` is given only when another server stands in for Stripe."""
    stripe.enable_telemetry = False  # it would write into the home directory and add a header
    connector = aiohttp.TCPConnector(limit=50)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        timeout = aiohttp.ClientTimeout(total=TRY_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
        client = stripe.StripeClient(
            api_key,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": api_base, "files": api_base} if api_base else {},
            http_client=StripeHTTP(session=session, timeout=timeout),
            max_network_retries=1,
        )
        yield Stripe(client)
