"""Errors are named by what the shell must do with them, not by where they arose.

Two renderers know these classes: `payments_shared.http` and `payments_shared.messaging`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field of a request that cannot be accepted. `pointer` is a JSON pointer, such as `/lines/0/sku`."""

    pointer: str
    detail: str
    code: str = "invalid"


class PaymentsError(Exception):
    """Root of the errors that carry a stable `code` for callers."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Refused(PaymentsError):
    """A rule of the business says no, and will say no again.

    HTTP: a 4xx problem with `status`, `errors` and the members of `extra`.
    Message: recorded in the inbox with its code, then acknowledged.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 409,
        errors: Sequence[FieldError] = (),
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.status = status
        self.errors = tuple(errors)
        self.extra = dict(extra or {})


class Retryable(PaymentsError):
    """A dependency is away, or the moment is wrong; the same input may succeed later.

    HTTP: 503 with `Retry-After`. Message: the retry tiers.
    """

    def __init__(self, code: str, detail: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(code, detail)
        self.retry_after_seconds = retry_after_seconds


class Poison(PaymentsError):
    """No repetition can help; a person must look.

    HTTP: 500. Message: the dead letter queue, at once.
    """
