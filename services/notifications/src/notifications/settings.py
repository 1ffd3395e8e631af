"""Settings of notifications."""

from pydantic import Field, FilePath, HttpUrl, SecretStr, ValidationInfo, field_validator

from notifications.model import Tls
from payments_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Where mails go out, who writes them, and what they link to: the shop, its page at `recover_path`, and our own
    front door, `public_url`. `secret` keys the links that end invitations. `resend_seconds` begin when all retries are
    over. One address gets one invitation back to its cart in `invited_seconds`. `smtp_ca_file` holds the certificate of
    whoever signed the mail server's, if the system does not know him."""

    public_port: int = Field(default=0, ge=0, le=65535)
    public_url: HttpUrl
    secret: SecretStr = Field(min_length=32)
    smtp_host: str = Field(min_length=1)
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_tls: Tls = Tls.STARTTLS
    smtp_ca_file: FilePath | None = None
    smtp_username: str | None = None
    smtp_password: SecretStr | None = Field(default=None, min_length=1)
    mail_from: str = "orders@shop.example"
    mail_staff: str = "staff@shop.example"
    shop_name: str = "The Shop"
    shop_url: HttpUrl
    recover_path: str = "/recover"
    invited_seconds: float = Field(default=259_200.0, ge=0)
    resend_seconds: float = Field(default=60.0, gt=0)
    sweep_seconds: float = Field(default=10.0, gt=0)

    @field_validator("smtp_password")
    @classmethod
    def _never_in_clear(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("smtp_tls") is Tls.OFF:
            raise ValueError("would be shown to everybody on the way, since PAYMENTS_SMTP_TLS is off")
        return value

    @field_validator("mail_from", "mail_staff")
    @classmethod
    def _that_somebody_reads(cls, value: str, info: ValidationInfo) -> str:
        if not all(value.partition("@")):
            raise ValueError("must be an address")
        if info.data.get("livemode") and value.endswith(".example"):
            raise ValueError("must be an address of yours in live mode")
        return value
