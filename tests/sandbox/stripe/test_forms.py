"""Parameters as Stripe's callers encode them: by number, by empty brackets, in groups."""

import pytest

from sandbox.stripe.errors import StripeError
from sandbox.stripe.forms import parse_form


@pytest.mark.parametrize(
    ("form", "given"),
    [
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a[b]=1&a[c]=2", {"a": {"b": "1", "c": "2"}}),
        ("a[]=x&a[]=y", {"a": ["x", "y"]}),
        ("a[1]=y&a[0]=x", {"a": ["x", "y"]}),
        ("a[0][b][c]=1&a[1][b][c]=2", {"a": [{"b": {"c": "1"}}, {"b": {"c": "2"}}]}),
        ("metadata[0]=x&metadata[1]=y", {"metadata": {"0": "x", "1": "y"}}),
        ("a[metadata][7]=x", {"a": {"metadata": {"7": "x"}}}),
        ("name=A%26B+%C3%A9", {"name": "A&B é"}),
    ],
)
def test_a_form_becomes_nested_parameters(form: str, given: object) -> None:
    assert parse_form(form) == given


@pytest.mark.parametrize("form", ["a[=1", "a]=1", "[a]=1", "a=1&a[b]=2", "a" + "[b]" * 9 + "=1"])
def test_a_form_that_makes_no_sense_is_refused(form: str) -> None:
    with pytest.raises(StripeError) as refused:
        parse_form(form)

    assert refused.value.status == 400
