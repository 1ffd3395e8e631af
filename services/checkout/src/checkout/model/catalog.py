"""What administrators see of the catalogue, and files on their way into it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Product:
    """A product with all its prices, for administrators. With `parts` it is a bundle; a `digital` one is not sent."""

    sku: str
    name: str
    description: str
    image: str
    active: bool
    tax_code: str | None
    prices: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    digital: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """A catalogue file on its way in. `refused` counts rows that were wrong; `outcome` None: it is still open."""

    id: UUID
    actor: str
    columns: list[str]
    refused: int
    outcome: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class PartFault:
    """Why a bundle in the row `position` may not have `part`: `unknown`, no product; `nested`, a bundle itself. Or why
    there may be no bundle: `inside`, it is in the bundle `part`."""

    position: int
    kind: Literal["unknown", "nested", "inside"]
    part: str


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """How many products an import creates, changes and leaves as they are."""

    created: int
    changed: int
    unchanged: int
