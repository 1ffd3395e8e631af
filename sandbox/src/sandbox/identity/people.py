"""Whom the provider knows."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, and what stands in the claim `roles`."""

    subject: str
    name: str
    email: str
    roles: tuple[str, ...]


PEOPLE: Final = (
    Person("olga", "Olga Orlova", "olga@shop.example", ("operator",)),
    Person("amir", "Amir Aziz", "amir@shop.example", ("approver",)),
    Person("bea", "Bea Brandt", "bea@shop.example", ("operator", "approver")),
    Person("vera", "Vera Vos", "vera@shop.example", ("viewer",)),
    Person("nora", "Nora Novak", "nora@shop.example", ("operator", "admin")),
    Person("nils", "Nils Nobody", "nils@shop.example", ()),
)


def known(subject: str) -> Person | None:
    """Who has a subject."""
    return next((person for person in PEOPLE if person.subject == subject), None)
