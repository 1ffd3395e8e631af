"""What notifications says: what became of each mail."""

from typing import ClassVar, Final

from payments_shared.contracts.message import MailId, Message, OrderId
from payments_shared.ids import external_id

OWNER: Final = "notifications"


class AboutMail(Message):
    """A message about one mail. `kind` and `ref` name it; the order is there when it belongs to one."""

    mail_id: MailId
    kind: str
    ref: str
    order_id: OrderId | None = None

    def subject(self) -> str:
        return f"mail/{external_id('msg', self.mail_id)}"

    def partition_key(self) -> str:
        return self.correlation() or external_id("msg", self.mail_id)

    def correlation(self) -> str | None:
        return external_id("ord", self.order_id) if self.order_id else None


class NotificationSent(AboutMail):
    """The mail server took the mail, for the address `recipient`."""

    TYPE: ClassVar[str] = "notification.sent.v1"

    message_id: str
    recipient: str | None = None


class NotificationFailed(AboutMail):
    """The mail server refused the mail for good."""

    TYPE: ClassVar[str] = "notification.failed.v1"

    detail: str


class DeliverMail(AboutMail):
    """Command: hand the mail to the mail server."""

    TYPE: ClassVar[str] = "notifications.cmd.deliver.v1"


EVENTS: Final = (NotificationSent, NotificationFailed)
COMMANDS: Final = (DeliverMail,)
