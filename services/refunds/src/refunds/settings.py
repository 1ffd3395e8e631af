"""Settings of refunds."""

from pydantic import Field, HttpUrl, SecretStr

from payments_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times in seconds; `check_seconds` is business time. `resubmit_seconds` begin when all retries are over.

    Store credit that a refund gives may be used for `store_credit_days`; without them, for ever.

    `heal_seconds` and `sweep_seconds` are how often sweeps look: for refunds that stand still, and for successes to ask
    after again.
    """

    public_port: int = Field(default=0, ge=0, le=65535)
    stripe_api_key: SecretStr = Field(min_length=20)
    stripe_api_base: HttpUrl | None = None
    resubmit_seconds: float = Field(default=20.0, gt=0)
    check_seconds: float = Field(default=900.0, gt=0)
    heal_seconds: float = Field(default=60.0, gt=0)
    sweep_seconds: float = Field(default=5.0, gt=0)
    store_credit_days: int | None = Field(default=None, ge=1, le=3650)
