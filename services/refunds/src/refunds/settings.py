"""Settings of refunds."""

from datetime import date

from pydantic import Field, HttpUrl, SecretStr

from payments_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times in seconds; `check_seconds`, after which a pending refund is asked after, and `dispute_check_seconds`, the
    same of an undecided dispute, are business time. `resubmit_seconds` begin when all retries are over.

    `stripe_api_key_created_on`: when the key was made, which Stripe does not tell; its age is watched then.

    Store credit that a refund gives may be used for `store_credit_days`; without them, for ever.

    `refund_policy` is what the shop tells its buyers of refunds, in words for their banks.

    `heal_seconds` and `sweep_seconds` are how often sweeps look: for refunds that stand still, and for successes to ask
    after again. Every `tally_seconds` it is counted again what is usual.

    `secret` keys what is kept of cards; without one nothing is, and no card is suspicious.
    """

    public_port: int = Field(default=0, ge=0, le=65535)
    stripe_api_key: SecretStr = Field(min_length=20)
    stripe_api_key_created_on: date | None = None
    stripe_api_base: HttpUrl | None = None
    resubmit_seconds: float = Field(default=20.0, gt=0)
    check_seconds: float = Field(default=900.0, gt=0)
    dispute_check_seconds: float = Field(default=14_400.0, gt=0)
    heal_seconds: float = Field(default=60.0, gt=0)
    sweep_seconds: float = Field(default=5.0, gt=0)
    tally_seconds: float = Field(default=900.0, gt=0)
    secret: SecretStr | None = Field(default=None, min_length=32)
    store_credit_days: int | None = Field(default=None, ge=1, le=3650)
    refund_policy: str = Field(default="", max_length=20_000)
