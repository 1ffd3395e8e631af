"""Where buyers are sent back to: nowhere but where the shop says."""

import secrets
from typing import Final

import pytest
from pydantic import ValidationError

from checkout.decide.returning import check, is_safe, origin_of
from checkout.settings import Settings
from payments_shared.errors import Refused
from tests.support.instances import another_checkout
from tests.support.shopping import Shopper

ALLOWED: Final = frozenset({"https://shop.example", "https://m.shop.example:8443", "http://127.0.0.1:8080"})


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example/",
        "https://shop.example/thanks?utm=mail&step=2",
        "https://m.shop.example:8443/thanks",
        "http://127.0.0.1:8080/shop/success",
        "/thanks?utm=mail",
    ],
)
def test_what_the_shop_lists_is_taken(url: str) -> None:
    assert check(url, ALLOWED, pointer="/success_url") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://evil.example/",
        "http://shop.example/",  # another scheme
        "https://shop.example:8443/",  # another port
        "https://shop.example:443/",  # browsers write no default port
        "https://m.shop.example/",
        "https://www.shop.example/",
        "https://shop.example.evil.example/",
        "https://shop.example@evil.example/",
        "https://shop.example:pass@evil.example/",
        "https://evil.example#@shop.example/",
        "https://evil.example?@shop.example/",
        "https://evil.example/https://shop.example/",
        "https://evil.example\\@shop.example/",
        "https://shop.example\\.evil.example/",
        "https:\\\\shop.example/",
        "https:/\\shop.example/",
        "https:///shop.example/",
        "https:shop.example",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "\\/evil.example/",
        "/%5cevil.example/",
        "/..//evil.example/",
        "https://shop.example//evil.example/",
        "https://shop.example/#top",
        "https://shop.example/thanks#access",
        "https://SHOP.example/",
        "HTTPS://shop.example/",
        "https://shop.example./",
        "https://shop.example /",
        " https://shop.example/",
        "https://shop.example/\n",
        "https://shop.example\t.evil.example/",
        "https://shop.example\x00.evil.example/",
        "https://sh\u00f6p.example/",
        "https://\u0455hop.example/",  # a letter that looks like an s
        "https://shop\u3002example/",  # a full stop that browsers read as a dot
        "https://shop.example\uff0fevil.example/",
        "https://xn--hop-dtc.example/",
        "https://%73hop.example/",
        "https://0x7f000001:8080/",
        "http://127.1:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "javascript:alert(1)//https://shop.example/",
        "data:text/html,https://shop.example/",
        "https://shop.example/" + "a" * 500,
    ],
)
def test_nothing_else_is(url: str) -> None:
    with pytest.raises(Refused) as refusal:
        check(url, ALLOWED, pointer="/success_url")

    assert (refusal.value.code, refusal.value.status) == ("return_url_not_allowed", 422)
    assert refusal.value.errors[0].pointer == "/success_url"
    assert origin_of(url) not in ALLOWED


@pytest.mark.parametrize(
    ("origin", "safe"),
    [
        ("https://shop.example", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost:3000", True),
        ("http://[::1]:3000", True),
        ("http://shop.example", False),
        ("http://127.0.0.1.evil.example", False),
    ],
)
def test_an_origin_on_the_way_to_which_somebody_may_listen_is_no_setting(origin: str, safe: bool) -> None:
    assert is_safe(origin) is safe


async def test_a_buyer_comes_back_to_an_origin_that_is_listed(shopper: Shopper) -> None:
    sku, deployment = await shopper.offer(), shopper.deployment
    listed = "https://m.shop.example"
    async with another_checkout(deployment, "returning", PAYMENTS_RETURN_ORIGINS=listed) as instance:

        async def place(**given: object) -> tuple[int, dict[str, object]]:
            body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd", **given}
            key = {"Idempotency-Key": secrets.token_hex(12)}
            answer = await shopper.call("POST", f"{instance.public_url}/api/payments/checkout-session", body, **key)
            return answer.status, answer.body

        status, order = await place(success_url=f"{listed}/thanks?a=1", cancel_url="/cart")
        session = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}")
        elsewhere, refused = await place(cancel_url="https://m.shop.example.evil.example/")
        both, twice = await place(success_url=f"{listed}/thanks", success_path="/thanks")
        plain, _ = await place(success_path="/thanks")

    assert (status, elsewhere, both, plain) == (201, 422, 422, 201)
    assert session["success_url"] == f"{listed}/thanks?a=1&order_id={order['order_id']}"
    assert session["cancel_url"].endswith(f"/cart?order_id={order['order_id']}")
    assert (refused["code"], twice["code"]) == ("return_url_not_allowed", "validation_failed")


@pytest.mark.parametrize("origin", ["http://shop.example", "https://shop.example/", "*", "https://shop.example:443"])
def test_an_odd_origin_keeps_the_service_from_starting(origin: str) -> None:
    with pytest.raises(ValidationError, match="return_origins"):
        Settings.model_validate({"return_origins": origin})
