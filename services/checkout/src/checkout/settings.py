"""Settings of checkout."""

from pathlib import Path

from pydantic import Field, HttpUrl, SecretStr

from payments_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times in seconds of business time; amounts in minor units. `secret` keys what is derived for guests.

    The last four are how often sweeps look: for work that a crash interrupted, for orders of which nothing was heard,
    for deadlines, and for cards that expire.
    """

    public_port: int = Field(default=0, ge=0, le=65535)
    stripe_api_key: SecretStr = Field(min_length=20)
    stripe_api_base: HttpUrl | None = None
    inventory_url: HttpUrl
    service_key_file: Path
    service_key_id: str = "checkout"
    secret: SecretStr = Field(min_length=32)
    shop_origin: HttpUrl
    success_path: str = "/success"
    cancel_path: str = "/cart"
    methods_path: str = "/account/payment-methods"
    default_currency: str = "usd"
    session_seconds: float = Field(default=3600.0, ge=2700, le=86_000)
    maximum_minor: int = Field(default=99_999_999, gt=0)
    abandon_seconds: float = Field(default=600.0, gt=0)
    mismatch_seconds: float = Field(default=259_200.0, gt=0)
    wait_seconds: float = Field(default=600.0, gt=0)
    resume_seconds: float = Field(default=2.0, gt=0)
    heal_seconds: float = Field(default=60.0, gt=0)
    sweep_seconds: float = Field(default=5.0, gt=0)
    remind_seconds: float = Field(default=86_400.0, gt=0)
