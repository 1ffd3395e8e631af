"""The rows of a catalogue file, read strictly: a price that is misread is a price that is charged. Pure."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from checkout.model.catalog import PartFault, Product
from payments_shared.money import MAXIMUM_MINOR, SUPPORTED, payable_unit, to_minor

REQUIRED: Final = ("sku", "name")
OPTIONAL: Final = ("description", "image", "active", "tax_code", "digital", "parts")
PRICE: Final = "price_"
NAME_MAX: Final = 120
DESCRIPTION_MAX: Final = 1000
IMAGE_MAX: Final = 60
PARTS_MAX: Final = 20
PIECES_MAX: Final = 99  # of one part in one bundle
SKU: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
TAX_CODE: Final = re.compile(r"txcd_[0-9]{8}", re.ASCII)
_PART: Final = re.compile(r"(?P<sku>[A-Za-z0-9._-]{1,64}):(?P<quantity>[0-9]{1,4})", re.ASCII)
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,3})?", re.ASCII)
_WORDS: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one cell. `position` is the row's number in the file, whose head is row 1."""

    position: int
    column: str
    detail: str


def faults_of_head(columns: Sequence[str]) -> list[Fault]:
    """What is wrong with a file's first row."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    faults = [Fault(1, name, "This column stands twice.") for name in twice]
    faults += [Fault(1, name, "This column is missing.") for name in REQUIRED if name not in columns]
    for name in columns:
        currency = name.removeprefix(PRICE)
        if name.startswith(PRICE):
            if currency not in SUPPORTED:
                faults.append(Fault(1, name, f"{currency.upper()} is no currency that can be charged."))
        elif name not in REQUIRED + OPTIONAL:
            faults.append(Fault(1, name, "There is no such column."))
    if not any(name.startswith(PRICE) for name in columns):
        faults.append(Fault(1, f"{PRICE}usd", "There is no column with prices."))
    return faults


def product_of(position: int, cells: Mapping[str, str]) -> Product | list[Fault]:
    """The product in a row, or everything that is wrong with the row.

    Prices are in major units, as people write them: `12.50` in `price_usd`, `1250` in `price_jpy`. An empty one means
    that the product is not offered in that currency.
    """
    given = {name: cell.strip() for name, cell in cells.items()}
    faults: list[Fault] = []

    def wrong(column: str, detail: str) -> None:
        faults.append(Fault(position, column, detail))

    if not SKU.fullmatch(given.get("sku", "")):
        wrong("sku", "A SKU has 1 to 64 letters, digits, dots, dashes and underscores.")
    for column, least, most in (("name", 1, NAME_MAX), ("description", 0, DESCRIPTION_MAX), ("image", 0, IMAGE_MAX)):
        text = given.get(column, "")
        if not least <= len(text) <= most:
            wrong(column, f"This has {len(text)} characters, of {least} to {most}.")
        elif not text.isprintable():
            wrong(column, "This holds characters that cannot be printed.")
    active = _said(given.get("active", ""), otherwise=True)
    if active is None:
        wrong("active", "Say yes or no.")
    digital = _said(given.get("digital", ""), otherwise=False)
    if digital is None:
        wrong("digital", "Say yes or no.")
    tax_code = given.get("tax_code") or None
    if tax_code is not None and not TAX_CODE.fullmatch(tax_code):
        wrong("tax_code", "A tax code is txcd_ and eight digits.")
    prices = _prices(given, wrong)
    parts = _parts(given, wrong)
    if faults:
        return faults
    description, image = given.get("description", ""), given.get("image", "")
    return Product(
        given["sku"],
        given["name"],
        description,
        image,
        active is True,
        tax_code,
        prices,
        parts,
        digital=digital is True,
    )


def fault_of_part(found: PartFault) -> Fault:
    """What is wrong with a part, in words."""
    match found.kind:
        case "unknown":
            detail = f"{found.part} is no product, and in no row of the file."
        case "nested":
            detail = f"{found.part} is a bundle itself."
        case "inside":
            detail = f"This bundle would be a part of {found.part}, which is one."
    return Fault(found.position, "parts", detail)


def _parts(given: Mapping[str, str], wrong: Callable[[str, str], None]) -> dict[str, int]:
    """How many of each SKU are in one."""
    parts: dict[str, int] = {}
    for text in filter(None, (part.strip() for part in given.get("parts", "").split(";"))):
        read = _PART.fullmatch(text)
        if read is None:
            wrong("parts", "Parts are SKUs with how many of each, such as MUG:2;BOX:1.")
        elif not 1 <= int(read["quantity"]) <= PIECES_MAX:
            wrong("parts", f"One to {PIECES_MAX} of {read['sku']} may be in one bundle.")
        elif read["sku"] in parts:
            wrong("parts", f"{read['sku']} stands twice.")
        elif read["sku"] == given.get("sku"):
            wrong("parts", "A bundle cannot be part of itself.")
        else:
            parts[read["sku"]] = int(read["quantity"])
    if len(parts) > PARTS_MAX:
        wrong("parts", f"These are {len(parts)} parts, of at most {PARTS_MAX}.")
    return parts


def _said(cell: str, *, otherwise: bool) -> bool | None:
    """What a cell says, an empty one `otherwise`; None: neither yes nor no."""
    return _WORDS.get(cell.lower()) if cell else otherwise


def _prices(given: Mapping[str, str], wrong: Callable[[str, str], None]) -> dict[str, int]:
    """Minor units by currency."""
    prices: dict[str, int] = {}
    cells = {column: cell for column, cell in given.items() if column.startswith(PRICE) and cell}
    if not cells:
        wrong(f"{PRICE}usd", "The product has no price at all.")
    for column, cell in cells.items():
        read = _price(cell, column.removeprefix(PRICE))
        if isinstance(read, str):
            wrong(column, read)
        else:
            prices[column.removeprefix(PRICE)] = read
    return prices


def _price(cell: str, currency: str) -> int | str:
    """Minor units, or what is wrong."""
    if not _AMOUNT.fullmatch(cell):
        return "A price is digits with a dot before the decimals, such as 12.50."
    try:
        minor = to_minor(Decimal(cell), currency)
    except (InvalidOperation, ValueError):
        return f"This has more decimals than {currency.upper()}."
    if minor % payable_unit(currency):
        return f"Nobody can pay such a part of a unit in {currency.upper()}."
    if not 0 < minor <= MAXIMUM_MINOR:
        return f"A price is above zero and at most {MAXIMUM_MINOR} minor units."
    return minor
