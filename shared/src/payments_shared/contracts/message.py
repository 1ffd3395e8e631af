"""The form every message has."""

from typing import Annotated, ClassVar, Final
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from payments_shared.ids import external_id, parse_external_id

_COMMAND: Final = ".cmd."


def is_command(message_type: str) -> bool:
    """Whether messages of a type are commands, which their own service alone hears."""
    return _COMMAND in message_type


class Message(BaseModel):
    """One message type. Fields are only ever added within a major version; readers ignore what they don't know."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    TYPE: ClassVar[str]

    def subject(self) -> str:
        """What the message is about, as `<aggregate>/<id>`."""
        raise NotImplementedError

    def partition_key(self) -> str:
        """Messages with one key keep their order of commit as far as the broker can keep it."""
        raise NotImplementedError

    def correlation(self) -> str | None:
        """The order the message belongs to, in its external form, or None."""
        return None


class Part(BaseModel):
    """A value inside a message."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _prefixed(prefix: str) -> tuple[BeforeValidator, PlainSerializer, WithJsonSchema]:
    def read(value: object) -> object:
        return parse_external_id(prefix, value) if isinstance(value, str) else value

    def write(value: UUID) -> str:
        return external_id(prefix, value)

    schema = {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"}
    return BeforeValidator(read), PlainSerializer(write, return_type=str), WithJsonSchema(schema)


OrderId = Annotated[UUID, *_prefixed("ord")]
RefundId = Annotated[UUID, *_prefixed("ref")]
ShipmentId = Annotated[UUID, *_prefixed("shp")]
EvidenceId = Annotated[UUID, *_prefixed("evd")]
MailId = Annotated[UUID, *_prefixed("msg")]

CurrencyCode = Annotated[str, Field(pattern=r"^[a-z]{3}$", description="ISO 4217, lower case, as Stripe writes it")]
Minor = Annotated[int, Field(ge=0, description="amount in Stripe's minor units of the currency beside it")]


class AboutOrder(Message):
    """A message whose subject is one order."""

    order_id: OrderId

    def subject(self) -> str:
        return f"order/{external_id('ord', self.order_id)}"

    def partition_key(self) -> str:
        return external_id("ord", self.order_id)

    def correlation(self) -> str | None:
        return external_id("ord", self.order_id)
