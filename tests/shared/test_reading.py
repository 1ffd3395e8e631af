"""Queries and times are taken in one form only, and what is wrong is named."""

from typing import Annotated

import pytest
from aiohttp.test_utils import make_mocked_request
from pydantic import BaseModel, ConfigDict, Field, StrictInt, TypeAdapter, ValidationError

from payments_shared.errors import Refused
from payments_shared.http import DIGITS, Time, read_query
from payments_shared.http.reading import refusal_of


class Query(BaseModel):
    """A query as services have them."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100), DIGITS] = 20
    name: str | None = None
    id: list[str] = Field(default_factory=list)


class Prices(BaseModel):
    """A body with keys of its own."""

    prices: dict[Annotated[str, Field(pattern="^[a-z]{3}$")], StrictInt]


def test_a_query_is_read_as_its_model() -> None:
    read = read_query(make_mocked_request("GET", "/?limit=100&name=a%20b&id=1&id=2"), Query)
    alone = read_query(make_mocked_request("GET", "/?id=1"), Query)

    assert (read.limit, read.name, read.id) == (100, "a b", ["1", "2"])
    assert (alone.limit, alone.name, alone.id) == (20, None, ["1"])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"), ("limit=101", "/limit"), ("limit=%2B5", "/limit"), ("limit=5.0", "/limit"),
        ("limit=1_0", "/limit"), ("limit=05", "/limit"), ("limit=", "/limit"), ("limit=%D9%A3", "/limit"),
        ("limit=1&limit=1", "/limit"), ("name=a&name=b", "/name"), ("other=1", "/other"),
    ],
)  # fmt: skip
def test_what_is_odd_in_a_query_is_refused_and_named(query: str, pointer: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_query(make_mocked_request("GET", f"/?{query}"), Query)

    assert (refusal.value.status, refusal.value.code) == (422, "validation_failed")
    assert refusal.value.errors[0].pointer == pointer


@pytest.mark.parametrize("text", ["2026-08-26T12:00:00Z", "2026-08-26t12:00:00.5z", "2026-08-26T12:00:00+02:00"])
def test_a_time_is_written_as_rfc_3339_has_it(text: str) -> None:
    assert TypeAdapter(Time).validate_python(text).utcoffset() is not None


@pytest.mark.parametrize(
    "value", ["2026-08-26", "2026-08-26T12:00:00", "2026-08-26 12:00:00Z", "1787745600", 1787745600, 1.5, None, True]
)
def test_a_time_in_another_form_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Time).validate_python(value)


def test_a_key_that_is_wrong_is_pointed_at_as_it_stands_in_the_body() -> None:
    with pytest.raises(ValidationError) as found:
        Prices.model_validate({"prices": {"USD": 1, "eur": "1"}})

    assert [error.pointer for error in refusal_of(found.value).errors] == ["/prices/USD", "/prices/eur"]
