"""Who is one person, however he is written. Pure."""

from payments_shared.identity import mailboxes_of
from refunds.model.refunds import Order
from refunds.model.requests import Person


def is_same(one: Person, other: Person) -> bool:
    """Whether two are one person: by any of their names. Roles make nobody another."""
    return not names_of(one).isdisjoint(names_of(other))


def names_of(person: Person) -> frozenset[str]:
    """His subject and his address as mailboxes. The database says it again as `names_of`."""
    return mailboxes_of(person.subject, person.email)


def is_buyer(order: Order, person: Person) -> bool:
    """Whether a person bought it: by his account, which is a subject, or by his mailbox. The database says it again as
    `check_second_is_no_buyer`."""
    return not names_of(person).isdisjoint(mailboxes_of(order.account, (order.customer or {}).get("email")))
