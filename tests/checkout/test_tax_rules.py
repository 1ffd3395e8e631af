"""What tax is due by the shop's own table, line by line."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as some

from checkout.decide.coupons import spread
from checkout.decide.taxes import tax_of, ways_of
from checkout.model.carts import Coupon, PricedLine
from checkout.model.delivery import Delivery, DeliveryTerms, Destination, Offer, Tax, TaxRate, TaxShare, TaxSource, Way
from checkout.routes.wishes import ShippingWish, delivery_wish
from payments_shared.errors import Refused
from payments_shared.money import SUPPORTED, payable_unit

BOOK = "txcd_35010000"
VAT = TaxRate("DE", None, None, "VAT", 190_000, inclusive=False)
REDUCED = TaxRate("DE", None, BOOK, "VAT", 70_000, inclusive=False)
CONTAINED = TaxRate("GB", None, None, "VAT", 200_000, inclusive=True)
NEW_YORK = TaxRate("US", "NY", None, "Sales tax", 88_750, inclusive=False)
OREGON = TaxRate("US", "OR", None, "Sales tax", 0, inclusive=False)
LINES = (PricedLine("MUG", "Mug", 3, 333), PricedLine("NOVEL", "Novel", 1, 1250, BOOK))
POST = Delivery((Offer("post", "Post", 490),), ("DE",))


def by(*rates: TaxRate) -> DeliveryTerms:
    return DeliveryTerms(source=TaxSource.TABLE, rates=rates)


def found(terms: DeliveryTerms, country: str | None, region: str | None = None, **given: object) -> Tax:
    rest: dict[str, object] = {"off": (0, 0), "delivery": None, "currency": "usd", "lines": LINES, **given}
    lines, off, delivery, currency = rest["lines"], rest["off"], rest["delivery"], rest["currency"]
    return tax_of(lines, off, delivery, terms, destination=Destination(country, region), currency=currency)  # type: ignore[arg-type]


def test_each_line_is_rounded_by_itself_and_the_tax_is_their_sum() -> None:
    tax = found(by(VAT, REDUCED), "DE", delivery=POST)

    assert (tax.source, tax.lines_minor, tax.shipping_minor) == (TaxSource.TABLE, (190, 88), 93)
    assert tax.added_minor == 190 + 88 + 93
    assert tax.shares == (TaxShare("VAT", 190_000, False, 283), TaxShare("VAT", 70_000, False, 88))


@pytest.mark.parametrize(
    ("terms", "place", "added"),
    [
        (by(VAT, REDUCED), "DE", [95, 285]),
        (by(CONTAINED), "GB", [0, 0]),
        (by(NEW_YORK, OREGON), "US", []),
        (DeliveryTerms(), "DE", [0, 0]),
        (DeliveryTerms(source=TaxSource.STRIPE), "DE", [None, None]),
    ],
)
def test_each_way_to_ship_adds_its_own_tax(terms: DeliveryTerms, place: str, added: list[int | None]) -> None:
    ways = tuple(Way(Offer(code, code, amount)) for code, amount in (("post", 500), ("express", 1500)))

    found = ways_of(Delivery((), (place,), ways), terms, destination=Destination(place), currency="usd")

    assert [way.added_minor for way in found] == added


def test_what_prices_contain_comes_on_top_of_nothing() -> None:
    tax = found(by(CONTAINED), "GB")

    assert (tax.added_minor, tax.included_minor) == (0, 167 + 208)  # 999 / 6 = 166.5, 1250 / 6 = 208.33


def test_a_discount_is_taxed_no_more_and_only_where_it_is_taken_off() -> None:
    off = spread(Coupon("C", 1000, None, skus=["NOVEL"]), LINES, 125)

    assert (off, found(by(VAT, REDUCED), "DE", off=off).lines_minor) == ((0, 125), (190, 79))


def test_the_row_that_fits_best_counts() -> None:
    region = TaxRate("DE", "BY", None, "Bavarian", 10_000, inclusive=False)
    both = TaxRate("DE", "BY", BOOK, "Bavarian", 5_000, inclusive=False)

    assert found(by(VAT, REDUCED, region), "DE", "BY").lines_minor == (10, 13)
    assert found(by(VAT, REDUCED, region, both), "DE", "BY").lines_minor == (10, 6)
    assert found(by(VAT, region), "DE", "HH").lines_minor == (190, 238)


def test_an_eighth_of_a_percent_is_a_rate() -> None:
    assert found(by(NEW_YORK, OREGON), "US", "NY").lines_minor == (89, 111)
    assert found(by(NEW_YORK, OREGON), "US", "OR").added_minor == 0


def test_where_the_table_says_nothing_nobody_says_what_is_due() -> None:
    assert found(by(), "FR") == Tax(lines_minor=(0, 0))
    assert found(by(replace(NEW_YORK, tax_code=BOOK)), "US", "NY", lines=LINES[:1], off=(0,)).source is TaxSource.NONE
    assert found(DeliveryTerms(), None).source is TaxSource.NONE
    assert found(DeliveryTerms(source=TaxSource.STRIPE), None).source is TaxSource.STRIPE


@pytest.mark.parametrize(
    ("terms", "country", "code"),
    [
        (by(), None, "country_needed"),
        (by(NEW_YORK, OREGON), "US", "region_needed"),
        (by(NEW_YORK, TaxRate("US", None, None, "Sales tax", 0, inclusive=False)), "US", "region_needed"),
        (by(VAT, TaxRate("DE", "BY", BOOK, "Bavarian", 5_000, inclusive=False)), "DE", "region_needed"),
    ],
)
def test_who_does_not_say_where_he_is_pays_no_less(terms: DeliveryTerms, country: str | None, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        found(terms, country)

    assert (refusal.value.code, refusal.value.status) == (code, 422)


def test_a_region_that_only_other_rows_are_for_is_taxed_like_its_country() -> None:
    assert found(by(VAT, TaxRate("DE", "BY", "txcd_1", "Bavarian", 5_000, inclusive=False)), "DE").lines_minor == (
        190,
        238,
    )


def test_a_region_that_is_not_listed_is_refused_where_its_country_has_no_row() -> None:
    with pytest.raises(Refused) as refusal:
        found(by(NEW_YORK), "US", "OR")

    assert (refusal.value.code, refusal.value.errors[0].pointer) == ("region_not_listed", "/region")
    assert found(by(NEW_YORK, OREGON), "US", "OR").added_minor == 0


@pytest.mark.parametrize(
    ("outer", "shipping", "place"),
    [
        (("US", "NY", "10001"), ShippingWish(country="US"), Destination("US", "NY", "10001", "/shipping")),
        ((None, "NY", "10001"), ShippingWish(country="US"), Destination("US", "NY", "10001", "/shipping")),
        (("US", "NY", None), ShippingWish(country="US", region="OR"), Destination("US", "OR", None, "/shipping")),
        (("US", "NY", "10001"), ShippingWish(country="DE"), Destination("DE", None, None, "/shipping")),
        (("US", "NY", "10001"), ShippingWish(), Destination("US", "NY", "10001")),
        (("US", "NY", "10001"), None, Destination("US", "NY", "10001")),
    ],
)
def test_where_the_buyer_is_counts_for_where_his_goods_go_in_the_same_country(
    outer: tuple[str | None, str | None, str | None], shipping: ShippingWish | None, place: Destination
) -> None:
    assert delivery_wish(*outer, shipping).destination == place


def test_a_refusal_points_at_the_part_that_named_the_country() -> None:
    with pytest.raises(Refused) as refusal:
        tax_of(
            LINES,
            (0, 0),
            None,
            by(NEW_YORK),
            destination=Destination("US", pointer="/shipping"),
            currency="usd",
        )

    assert refusal.value.errors[0].pointer == "/shipping/region"


@given(
    amounts=some.lists(some.integers(1, 99_999), min_size=1, max_size=8),
    percent=some.integers(0, 10_000),
    rate=some.integers(0, 500_000),
    inclusive=some.booleans(),
    currency=some.sampled_from(sorted(SUPPORTED)),
)
def test_no_line_is_off_by_more_than_half_a_unit_and_sums_agree(
    amounts: list[int], percent: int, rate: int, inclusive: bool, currency: str
) -> None:
    lines = tuple(PricedLine(f"S{n}", "S", 1, amount) for n, amount in enumerate(amounts))
    discount = sum(amounts) * percent // 10_000
    off = spread(None, lines, discount)
    unit = payable_unit(currency)
    row = replace(VAT, rate_millionths=rate, inclusive=inclusive)

    tax = found(by(row), "DE", lines=lines, off=off, currency=currency)

    assert sum(off) == discount
    assert (
        tax.added_minor + tax.included_minor == sum(tax.lines_minor) == sum(share.amount_minor for share in tax.shares)
    )
    for amount, less, got in zip(amounts, off, tax.lines_minor, strict=True):
        part = Fraction(rate, 1_000_000 + rate if inclusive else 1_000_000)
        assert abs(got - (amount - less) * part) <= Fraction(unit, 2)
        assert got % unit == 0
