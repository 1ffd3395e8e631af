"""The signed-in customer's orders, page by page."""

import secrets

import pytest

from tests.support.shopping import Answer, Json, Shopper


async def place(shopper: Shopper, subject: str, sku: str) -> Json:
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
    answer = await shopper.call(
        "POST",
        shopper.deployment.front_door_url + "/api/payments/checkout-session",
        body,
        **{"Idempotency-Key": secrets.token_hex(12), **signed_in(shopper, subject)},
    )
    assert answer.status == 201, answer
    return answer.body


def signed_in(shopper: Shopper, subject: str, role: str = "customer") -> dict[str, str]:
    return {"Authorization": f"Bearer {shopper.deployment.keys.token(subject, role)}"}


async def listed(shopper: Shopper, subject: str, query: str = "", role: str = "customer") -> Answer:
    url = f"{shopper.deployment.front_door_url}/api/payments/orders{query}"
    return await shopper.call("GET", url, **signed_in(shopper, subject, role))


async def test_pages_hold_each_order_once_newest_first_even_when_they_were_placed_at_one_moment(
    shopper: Shopper,
) -> None:
    me, sku = "sub-" + secrets.token_hex(4), await shopper.offer()
    mine = [(await place(shopper, me, sku))["order_id"] for _ in range(7)]
    theirs = (await place(shopper, "other-" + me, sku))["order_id"]
    await shopper.owner.execute(
        "UPDATE checkout.orders SET created_at = date_trunc('hour', created_at) WHERE customer_subject = $1", me
    )

    seen: list[str] = []
    cursor = None
    for size in (3, 3, 1):
        page = await listed(shopper, me, "?limit=3" + (f"&cursor={cursor}" if cursor else ""))
        assert len(page.body["orders"]) == size
        seen += [order["order_id"] for order in page.body["orders"]]
        cursor = page.body["next_cursor"]

    assert (seen, cursor) == (mine[::-1], None)
    assert theirs not in seen
    assert page.headers["Cache-Control"] == "private, no-cache"
    assert (await listed(shopper, me, f"?cursor={theirs}")).body == {"orders": [], "next_cursor": None}
    assert (await listed(shopper, "nobody-" + me)).body == {"orders": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("?limit=0", "/limit"), ("?limit=101", "/limit"), ("?limit=-1", "/limit"), ("?limit=ten", "/limit"),
        ("?limit=", "/limit"), ("?cursor=", "/cursor"), ("?cursor=ord_1", "/cursor"), ("?page=2", "/page"),
        ("?cursor=ord_%00", "/cursor"), ("?limit=5&limit=6", "/limit"),
    ],
)  # fmt: skip
async def test_an_odd_page_is_refused_by_name(shopper: Shopper, query: str, pointer: str) -> None:
    answer = await listed(shopper, "ada", query)

    assert answer.status == 422, answer
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]


async def test_nobody_else_has_a_list(shopper: Shopper) -> None:
    url = f"{shopper.deployment.front_door_url}/api/payments/orders"

    assert (await shopper.call("GET", url)).status == 401
    assert (await shopper.call("GET", url, Authorization="Bearer nonsense")).status == 401
    assert (await listed(shopper, "ada", role="support")).status == 403
