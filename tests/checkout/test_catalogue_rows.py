"""A row of a catalogue file is read as it was meant, or refused with every fault that it has."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from checkout.decide.importing import faults_of_head, product_of
from checkout.model.catalog import Product
from checkout.routes.admin import CouponRequest, ProductRequest
from checkout.routes.delivery import ShippingOptionRequest, TaxRateRequest
from checkout.routes.one_click import Parcel
from payments_shared.money import MAXIMUM_MINOR, SUPPORTED, Money, payable_unit, to_decimal

MUG = {"sku": "MUG", "name": "Mug", "price_usd": "18.00"}


def columns_at_fault(**cells: str) -> list[str]:
    read = product_of(7, MUG | cells)
    assert isinstance(read, list)
    assert {fault.position for fault in read} == {7}
    return [fault.column for fault in read]


def test_a_row_becomes_a_product() -> None:
    row = MUG | {
        "description": " For tea ", "image": "mug.webp", "active": "No", "tax_code": "txcd_99999999", "price_eur": "",
        "price_jpy": "2400", "price_isk": "2500",
    }  # fmt: skip

    assert product_of(2, row) == Product(
        "MUG", "Mug", "For tea", "mug.webp", False, "txcd_99999999", {"usd": 1800, "jpy": 2400, "isk": 250_000}
    )  # fmt: skip


@given(st.sampled_from(sorted(SUPPORTED)), st.integers(1, MAXIMUM_MINOR // 100))
def test_every_price_that_people_may_write_is_read_back_exactly(currency: str, units: int) -> None:
    minor = min(units, MAXIMUM_MINOR // payable_unit(currency)) * payable_unit(currency)
    written = format(to_decimal(Money(minor, currency)), "f")

    read = product_of(2, {"sku": "S", "name": "S", f"price_{currency}": written})

    assert isinstance(read, Product)
    assert read.prices == {currency: minor}
    assert Decimal(written) == to_decimal(Money(read.prices[currency], currency))


@pytest.mark.parametrize(
    ("currency", "cell"),
    [
        ("usd", "12.505"), ("usd", "12,50"), ("usd", "1.000,00"), ("usd", "1,000.00"), ("usd", "-1"), ("usd", "0"),
        ("usd", "0.00"), ("usd", "1e3"), ("usd", "$12"), ("usd", "12 50"), ("usd", "NaN"), ("usd", "Infinity"),
        ("usd", "١٢"), ("usd", "1000000.00"), ("usd", "."), ("usd", "12."), ("jpy", "12.5"),
        ("isk", "12.50"), ("kwd", "5.124"), ("ugx", "100.01"), ("usd", "+5"), ("usd", "9" * 13),
    ],
)  # fmt: skip
def test_a_price_that_could_be_misread_is_refused(currency: str, cell: str) -> None:
    assert f"price_{currency}" in columns_at_fault(**{"price_usd": "1.00", f"price_{currency}": cell})


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("sku", ""), ("sku", "a b"), ("sku", "x" * 65), ("sku", "Ä"), ("name", "  "), ("name", "x" * 121),
        ("name", "a\nb"), ("description", "x" * 1001), ("image", "x" * 61), ("active", "perhaps"), ("tax_code", "99"),
        ("digital", "maybe"), ("description", "x" * 20_000),
        ("parts", "BOX"), ("parts", "BOX:0"), ("parts", "BOX:100"), ("parts", "BOX:-1"), ("parts", "BOX:1.5"),
        ("parts", "BOX:1,PEN:2"), ("parts", "B X:1"), ("parts", "BOX:1;BOX:2"), ("parts", "MUG:2"), ("parts", "BOX:"),
        ("parts", ":2"), ("parts", "BOX:2:3"), ("parts", "BOX:١"), ("parts", ";".join(f"P{n}:1" for n in range(21))),
        ("name", "a\x00b"),
    ],
)  # fmt: skip
def test_a_cell_that_no_product_may_have_is_named(column: str, cell: str) -> None:
    assert columns_at_fault(**{column: cell}) == [column]


def test_a_row_with_parts_becomes_a_bundle() -> None:
    read = [product_of(2, MUG | {"parts": cell}) for cell in ("BOX:2;PEN.1:99", " BOX:2 ; PEN.1:99 ; ", "", " ; ")]

    parts = [product.parts for product in read if isinstance(product, Product)]
    assert parts == [{"BOX": 2, "PEN.1": 99}] * 2 + [{}] * 2


def test_all_faults_of_a_row_are_told_at_once() -> None:
    assert columns_at_fault(sku="", name="", active="?", price_usd="x") == ["sku", "name", "active", "price_usd"]
    assert columns_at_fault(price_usd="") == ["price_usd"]


@pytest.mark.parametrize(
    ("columns", "wrong"),
    [
        (["sku", "name", "price_usd"], []),
        (["name", "price_usd"], ["sku"]),
        (["sku", "name"], ["price_usd"]),
        (["sku", "name", "price_usd", "price"], ["price"]),
        (["sku", "name", "price_xyz"], ["price_xyz"]),
        (["sku", "sku", "name", "price_usd"], ["sku"]),
        (["SKU", "name", "price_usd"], ["sku", "SKU"]),
    ],
)
def test_the_first_row_names_the_columns_or_is_refused(columns: list[str], wrong: list[str]) -> None:
    faults = faults_of_head(columns)

    assert [fault.column for fault in faults] == wrong
    assert {fault.position for fault in faults} <= {1}


WHERE = {"name": "Ada", "line1": "1 Main St", "country": "US"}


@pytest.mark.parametrize("text", [" ", "Mug\r\n", "\u202egum"])
@pytest.mark.parametrize(
    ("model", "given"),
    [
        (ProductRequest, {"prices": {"usd": 1800}}),
        (ShippingOptionRequest, {"amounts": {"usd": 500}}),
        (TaxRateRequest, {"rate_millionths": 1}),
        (Parcel, WHERE),
    ],
)
def test_what_buyers_and_carriers_read_can_be_read(model: type[BaseModel], given: dict[str, object], text: str) -> None:
    model.model_validate({**given, "name": "Ada"})
    with pytest.raises(ValidationError, match="text that can be read"):
        model.model_validate({**given, "name": text})


def test_a_coupon_does_not_end_before_it_begins() -> None:
    begins, ends = "2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"

    CouponRequest.model_validate({"percent_off": 10, "valid_from": begins, "valid_until": ends})
    with pytest.raises(ValidationError, match="valid_until is not after valid_from"):
        CouponRequest.model_validate({"percent_off": 10, "valid_from": ends, "valid_until": begins})
