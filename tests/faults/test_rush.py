"""A crowd wants the last pieces, alone, on two lines and inside a bundle, all at once."""

import asyncio
import secrets
from collections import Counter

import pytest

from tests.support.shopping import Answer, Json, Shopper

PIECES = 10
IN_FLIGHT = 60  # what a front door lets through at once


async def test_the_last_pieces_are_sold_once_however_they_are_asked_for(shopper: Shopper) -> None:
    await rush(shopper, buyers=150, rounds=2)


@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_the_last_pieces_are_sold_once_to_five_hundred_buyers_twenty_times(shopper: Shopper) -> None:
    await rush(shopper, buyers=500, rounds=20)


async def rush(shopper: Shopper, *, buyers: int, rounds: int) -> None:
    answers: Counter[tuple[int, str]] = Counter()
    for _ in range(rounds):
        sku, other = await shopper.offer(stock=PIECES), await shopper.offer(stock=buyers * 2)
        bundle = await bundle_of(shopper, {sku: 2, other: 1})
        carts = [
            [line(sku, 1)],
            [line(sku, 1), line(other, 1), line(sku, 2)],
            [line(bundle, 1)],
            [line(other, 1), line(bundle, 1), line(sku, 1)],
        ]
        turns = asyncio.Semaphore(IN_FLIGHT)

        async def buy(cart: list[Json], turns: asyncio.Semaphore = turns) -> Answer:
            async with turns:
                return await shopper.checkout("", lines=cart, email=f"{secrets.token_hex(6)}@example.com")

        given = await asyncio.gather(*(buy(carts[number % len(carts)]) for number in range(buyers)))

        answers.update((answer.status, answer.body.get("code", "placed")) for answer in given)
        each = {sku: 1, bundle: 2}
        pieces = [sum(wanted["quantity"] * each.get(wanted["sku"], 0) for wanted in cart) for cart in carts]
        sold = sum(pieces[n % len(carts)] for n, answer in enumerate(given) if answer.status == 201)
        pile = await shopper.stock_of(sku)
        assert sold == pile["held"] == PIECES, (sold, pile, answers)
        assert pile["available"] == 0
    assert answers.keys() == {(201, "placed"), (409, "out_of_stock")}
    print(f"{buyers} buyers, {rounds} rounds for {PIECES} pieces: {dict(answers)}")
    await shopper.audited()


def line(sku: str, quantity: int) -> Json:
    return {"sku": sku, "quantity": quantity}


async def bundle_of(shopper: Shopper, parts: Json) -> str:
    sku = "SET-" + secrets.token_hex(5)
    await shopper.admin(
        "PUT", "checkout", f"/admin/products/{sku}", {"name": "Set", "prices": {"usd": 5000}, "parts": parts}
    )
    return sku
