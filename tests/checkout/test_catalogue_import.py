"""`payctl catalog import`: all of a file or nothing of it, and everything that is wrong with it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.shopping import Shopper, eventually

HEAD = "sku,name,price_usd,price_jpy,active,tax_code\n"


def payctl(
    shopper: Shopper, folder: Path, *arguments: str, role: str = "admin", given: str = ""
) -> tuple[int, str, str]:
    token = folder / "token"
    token.write_text(shopper.deployment.keys.token("ada", role))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "payctl"), "catalog", "import", *arguments],
        capture_output=True,
        text=True,
        input=given,
        env={
            "PATH": "/usr/bin:/bin",
            "COLUMNS": "160",
            "PAYMENTS_CHECKOUT_URL": shopper.deployment.internal_url("checkout"),
            "PAYMENTS_TOKEN_FILE": str(token),
        },
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def offered(shopper: Shopper, prefix: str) -> dict[str, Any]:
    """What administrators see of the products whose SKU begins with `prefix`."""
    listed = (await shopper.admin("GET", "checkout", "/admin/products")).body["products"]
    return {product["sku"]: product for product in listed if product["sku"].startswith(prefix)}


async def test_a_file_creates_changes_and_leaves_alone(shopper: Shopper, tmp_path: Path) -> None:
    await shopper.offer(sku="IMP-A", prices={"usd": 100, "eur": 90})
    await shopper.offer(sku="IMP-C", prices={"usd": 300})
    await shopper.offer(sku="IMP-Z", prices={"usd": 999})
    file = tmp_path / "products.csv"
    rows = "IMP-A,Product IMP-A,1.50,,yes,\nIMP-B,Bowl,20,2400,,txcd_99999999\n\nIMP-C,Product IMP-C,3.00,,,\n"
    file.write_text("\ufeff" + HEAD + rows, encoding="utf-8")

    dry = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--dry-run", "--json")
    assert dry[0] == 0, dry
    assert json.loads(dry[1]) == {
        "rows": 3, "faults": [], "created": 1, "changed": 1, "unchanged": 1, "dry_run": True
    }  # fmt: skip
    assert "IMP-B" not in await offered(shopper, "IMP-")

    status, text, said = await asyncio.to_thread(payctl, shopper, tmp_path, str(file))

    assert (status, said) == (0, "")
    assert "products.csv: 3 products" in text
    found = await offered(shopper, "IMP-")
    assert found["IMP-A"]["prices"] == {"usd": 150}, "a price that the row does not give is gone"
    assert (found["IMP-B"]["prices"], found["IMP-B"]["tax_code"]) == ({"usd": 2000, "jpy": 2400}, "txcd_99999999")
    assert found["IMP-Z"]["prices"] == {"usd": 999}, "what the file does not name stays"
    again = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--json")
    assert (json.loads(again[1])["unchanged"], json.loads(again[1])["changed"]) == (3, 0)
    kept = "SELECT count(*) FROM checkout.catalog_imports WHERE actor = 'ada' AND outcome = 'imported' AND file = $1"
    assert await shopper.count(kept, "products.csv") == 2
    assert await shopper.count("SELECT count(*) FROM checkout.catalog_import_rows") == 0


async def test_a_file_may_come_through_a_pipe(shopper: Shopper, tmp_path: Path) -> None:
    rows = HEAD + '"PIPE-1","Mug, ""large""",1.00,,,\n'

    status, _, said = await asyncio.to_thread(payctl, shopper, tmp_path, "-", given=rows)

    assert (status, said) == (0, "")
    assert (await offered(shopper, "PIPE-"))["PIPE-1"]["name"] == 'Mug, "large"'


async def test_what_was_imported_is_sold_with_its_tax_code(shopper: Shopper, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text(HEAD + "IMP-TAX,Book,12.50,,,txcd_35010000\n", encoding="utf-8")
    assert (await asyncio.to_thread(payctl, shopper, tmp_path, str(file)))[0] == 0
    await shopper.admin("PUT", "inventory", "/admin/stock/IMP-TAX", {"total": 5})

    order = await shopper.placed("IMP-TAX", quantity=2)

    assert order["total_minor"] == 2500
    asked = await shopper.owner.fetchval(
        "SELECT stripe_request FROM checkout.orders WHERE stripe_request::text LIKE '%IMP-TAX%'"
    )
    (line,) = json.loads(asked)["line_items"]
    assert line["price_data"]["product_data"]["tax_code"] == "txcd_35010000"


async def test_one_wrong_row_among_a_thousand_and_nothing_is_imported(shopper: Shopper, tmp_path: Path) -> None:
    rows = [f"BAD-{number},Thing {number},{number}.00,,,\n" for number in range(1, 1001)]
    rows[499] = "BAD-500,Thing,12.505,,maybe,\n"
    rows[998] = "BAD-1,Thing,1.00,,,\n"
    file = tmp_path / "bad.csv"
    file.write_text(HEAD + "".join(rows), encoding="utf-8")

    status, text, said = await asyncio.to_thread(payctl, shopper, tmp_path, str(file))

    assert (status, said) == (1, "nothing was imported\n")
    assert "2 of 1000 rows are wrong" in text
    for part in ("501", "price_usd", "more decimals than USD", "Say yes or no.", "1000", "stands in row 2 as well"):
        assert part in text, part
    assert await offered(shopper, "BAD-") == {}
    as_json = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--json")
    assert [(fault["row"], fault["column"]) for fault in json.loads(as_json[1])["faults"]] == [
        (501, "active"), (501, "price_usd"), (1000, "sku")
    ]  # fmt: skip


async def test_rows_of_another_shape_are_listed_among_all_that_is_wrong(shopper: Shopper, tmp_path: Path) -> None:
    """A cell too few, one too many, a cell that no product has, one that no request holds, and a price that is none."""
    long, longer = "x" * 5000, "x" * 200_000
    rows = f"ODD-1,a,1\nODD-2,b,1,,,,\nODD-3,{long},1,,,\nODD-4,c,1,,,\nODD-5,{longer},1,,,\nODD-6,d,x,,,\n"
    file = tmp_path / "odd.csv"
    file.write_text(HEAD + rows, encoding="utf-8")

    status, text, said = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--json")

    assert (status, said) == (1, "nothing was imported\n")
    told = json.loads(text)
    assert [(fault["row"], fault["column"]) for fault in told["faults"]] == [
        (2, "price_jpy"), (3, "tax_code"), (4, "name"), (6, "name"), (7, "price_usd")
    ]  # fmt: skip
    assert told["rows"] == 6


async def test_what_is_not_sent_may_stand_in_the_file(shopper: Shopper, tmp_path: Path) -> None:
    file, head = tmp_path / "digital.csv", "sku,name,price_usd"
    seen = []
    for text in (
        f"{head},digital\nDIG-1,Book,5,yes\nDIG-2,Mug,5,\n",
        f"{head}\nDIG-1,Book,6\nDIG-2,Mug,5\nDIG-3,Pen,1\n",
        f"{head},digital\nDIG-1,Book,6,no\nDIG-2,Mug,5,no\n",
    ):
        file.write_text(text, encoding="utf-8")
        status, told, _ = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--json")
        assert status == 0
        digital = {sku: product["digital"] for sku, product in (await offered(shopper, "DIG-")).items()}
        seen.append((json.loads(told)["changed"], digital))

    assert seen == [
        (0, {"DIG-1": True, "DIG-2": False}),
        (1, {"DIG-1": True, "DIG-2": False, "DIG-3": False}),
        (1, {"DIG-1": False, "DIG-2": False, "DIG-3": False}),
    ]


async def test_bundles_stand_in_the_file_and_stay_where_it_says_nothing_of_them(
    shopper: Shopper, tmp_path: Path
) -> None:
    file, head = tmp_path / "bundles.csv", "sku,name,price_usd"
    seen = []
    for text in (
        f"{head},parts\nBUN-SET,Set,9,BUN-MUG:2;BUN-BOX:1\nBUN-MUG,Mug,5,\nBUN-BOX,Box,1,\n",
        f"{head}\nBUN-SET,Set,8\n",
        f"{head},parts\nBUN-SET,Set,8,BUN-MUG:3\nBUN-TWO,Two,7,BUN-BOX:2\n",
        f"{head},parts\nBUN-SET,Set,8,BUN-MUG:3\nBUN-TWO,Two,7,\n",
        f"{head},parts\nBUN-TWO,Two,7,BUN-SET:1\nBUN-SET,Set,8,\n",
    ):
        file.write_text(text, encoding="utf-8")
        dry = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--json", "--dry-run")
        status, told, said = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--json")
        assert status == 0, said
        counts = json.loads(told)
        assert {**json.loads(dry[1]), "dry_run": False} == counts
        parts = {sku: one["parts"] for sku, one in (await offered(shopper, "BUN-")).items() if one["parts"]}
        seen.append((counts["created"], counts["changed"], parts))

    assert seen == [
        (3, 0, {"BUN-SET": {"BUN-MUG": 2, "BUN-BOX": 1}}),
        (0, 1, {"BUN-SET": {"BUN-MUG": 2, "BUN-BOX": 1}}),
        (1, 1, {"BUN-SET": {"BUN-MUG": 3}, "BUN-TWO": {"BUN-BOX": 2}}),
        (0, 1, {"BUN-SET": {"BUN-MUG": 3}}),
        (0, 2, {"BUN-TWO": {"BUN-SET": 1}}),
    ]


async def test_a_bundle_that_may_not_have_its_parts_is_named_by_its_row_and_nothing_is_imported(
    shopper: Shopper, tmp_path: Path
) -> None:
    for sku, parts in (("NOB-MUG", {}), ("NOB-OLD", {"NOB-MUG": 1}), ("NOB-IN", {}), ("NOB-OUT", {"NOB-IN": 1})):
        product = {"name": sku, "prices": {"usd": 100}, "parts": parts}
        await shopper.admin("PUT", "checkout", f"/admin/products/{sku}", product)
    rows = [
        "NOB-1,Unknown,1,NOB-NONE:1;NOB-MUG:1", "NOB-2,Of an old bundle,1,NOB-OLD:2",
        "NOB-3,Of a new one,1,NOB-4:1", "NOB-4,Fine,1,NOB-MUG:2", "NOB-IN,Part of an old one,1,NOB-MUG:1",
    ]  # fmt: skip
    file = tmp_path / "nobundles.csv"
    file.write_text("sku,name,price_usd,parts\n" + "\n".join(rows) + "\n", encoding="utf-8")

    status, told, said = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--json")

    assert (status, said) == (1, "nothing was imported\n")
    assert [(fault["row"], fault["column"], fault["detail"]) for fault in json.loads(told)["faults"]] == [
        (2, "parts", "NOB-NONE is no product, and in no row of the file."),
        (3, "parts", "NOB-OLD is a bundle itself."),
        (4, "parts", "NOB-4 is a bundle itself."),
        (6, "parts", "This bundle would be a part of NOB-OUT, which is one."),
    ]
    found = await offered(shopper, "NOB-")
    assert {sku: one["parts"] for sku, one in found.items()} == {
        "NOB-MUG": {}, "NOB-OLD": {"NOB-MUG": 1}, "NOB-IN": {}, "NOB-OUT": {"NOB-IN": 1},
    }  # fmt: skip


async def test_parts_are_looked_at_once_more_when_the_import_takes_effect(shopper: Shopper) -> None:
    """Somebody may have made a bundle of a part since the file was looked at."""
    await shopper.offer(sku="LATE-MUG")
    await shopper.offer(sku="LATE-BOX")
    columns = ["sku", "name", "price_usd", "parts"]
    begun = await shopper.admin("POST", "checkout", "/admin/catalog/imports", {"file": "f", "columns": columns})
    mine = f"/admin/catalog/imports/{begun.body['id']}"
    cells = {"sku": "LATE-SET", "name": "Set", "price_usd": "1", "parts": "LATE-MUG:1"}
    await shopper.admin("PUT", "checkout", f"{mine}/rows", {"rows": [{"row": 2, "cells": cells}]})
    assert (await shopper.admin("GET", "checkout", f"{mine}/faults")).body == {"faults": []}
    bundle = {"name": "Mug", "prices": {"usd": 100}, "parts": {"LATE-BOX": 1}}
    await shopper.admin("PUT", "checkout", "/admin/products/LATE-MUG", bundle)

    token = {"Authorization": f"Bearer {shopper.deployment.keys.token('ada', 'admin')}"}
    url = f"{shopper.deployment.internal_url('checkout')}{mine}/apply"
    refused = await shopper.call("POST", url, {"rows": 1}, **token)

    assert (refused.status, refused.body["code"]) == (409, "import_has_faults")
    assert [error["pointer"] for error in refused.body["errors"]] == ["/rows/2/cells/parts"]
    assert "LATE-SET" not in await offered(shopper, "LATE-")


async def test_a_file_that_takes_longer_than_any_request_of_a_buyer_may_is_imported(
    shopper: Shopper, tmp_path: Path
) -> None:
    """A trigger makes one row take as long as thousands do."""
    await shopper.owner.execute(
        "CREATE FUNCTION checkout.slow_row() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(5.5); RETURN NEW; END $$;"
        "CREATE TRIGGER slow_row BEFORE INSERT ON checkout.products FOR EACH ROW WHEN (NEW.sku = 'LARGE-2')"
        " EXECUTE FUNCTION checkout.slow_row()"
    )
    file = tmp_path / "large.csv"
    file.write_text(HEAD + "LARGE-1,Large,2.00,,,\nLARGE-2,Large,1.00,,,\n", encoding="utf-8")
    await shopper.offer(sku="LARGE-1", prices={"usd": 100})

    try:
        importing = asyncio.create_task(asyncio.to_thread(payctl, shopper, tmp_path, str(file)))
        slow = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        await eventually(lambda: shopper.count(slow), what="the import is under way")
        order = await shopper.placed("LARGE-1")
        status, _, said = await importing
    finally:
        await shopper.owner.execute("DROP FUNCTION checkout.slow_row CASCADE")

    assert order["total_minor"] == 100, "buyers go on at the old price"
    assert (status, said) == (0, "")
    assert (await offered(shopper, "LARGE-"))["LARGE-1"]["prices"] == {"usd": 200}


@pytest.mark.parametrize(
    ("text", "status", "part"),
    [
        ("sku,price_usd\nA,1\n", 1, "/columns/name: This column is missing."),
        ("\nA,a,1\n", 1, "names no columns"),
        ("sku,name,price_usd\n", 1, "holds no products"),
        ('sku,name,price_usd\n"A,a,1\n', 2, "cannot be read"),
    ],
)
async def test_a_file_that_is_none_is_refused(
    shopper: Shopper, tmp_path: Path, text: str, status: int, part: str
) -> None:
    file = tmp_path / "odd.csv"
    file.write_text(text, encoding="utf-8")

    ended = await asyncio.to_thread(payctl, shopper, tmp_path, str(file))

    assert (ended[0], ended[1]) == (status, "")
    assert part in ended[2]


async def test_only_an_administrator_may(shopper: Shopper, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text(HEAD + "NOPE,Nope,1,,,\n", encoding="utf-8")

    for role in ("operator", "support", "customer"):
        status, _, said = await asyncio.to_thread(payctl, shopper, tmp_path, str(file), role=role)
        assert (status, said.partition(":")[0]) == (1, "forbidden"), role


async def test_an_import_takes_effect_once_and_only_whole(shopper: Shopper) -> None:
    """What a client that repeats, forgets or races may do."""
    path = "/admin/catalog/imports"
    token = {"Authorization": f"Bearer {shopper.deployment.keys.token('ada', 'admin')}"}
    url = shopper.deployment.internal_url("checkout")

    async def ask(method: str, where: str, body: object | None = None) -> tuple[int, str]:
        answer = await shopper.call(method, url + where, body, **token)
        return answer.status, answer.body.get("code", "")

    begun = await shopper.admin(
        "POST", "checkout", path, {"file": "f", "columns": ["sku", "name", "price_usd"]}, "admin"
    )
    mine = f"{path}/{begun.body['id']}"
    rows = [{"row": n, "cells": {"sku": f"ONCE-{n}", "name": "Once", "price_usd": "1"}} for n in (2, 3)]
    for _ in range(2):  # the answer was lost, and the piece is sent again
        assert (await ask("PUT", f"{mine}/rows", {"rows": rows}))[0] == 200
    assert await ask("POST", f"{mine}/apply", {"rows": 3}) == (409, "import_incomplete")

    applied = await asyncio.gather(*(ask("POST", f"{mine}/apply", {"rows": 2}) for _ in range(5)))

    assert sorted(applied) == [(200, ""), *[(409, "import_ended")] * 4]
    assert await ask("PUT", f"{mine}/rows", {"rows": rows}) == (409, "import_ended")
    assert await ask("DELETE", mine) == (409, "import_ended")
    assert await ask("DELETE", f"{path}/nonsense") == (404, "not_found")
    assert len(await offered(shopper, "ONCE-")) == 2


async def test_imports_at_once_neither_mix_nor_wait_for_each_other_in_a_circle(
    shopper: Shopper, tmp_path: Path
) -> None:
    files = []
    for turn in range(6):
        numbers = list(range(1, 301))
        rows = [f"RACE-{n},Turn {turn},{turn + 1}.00,,,\n" for n in (numbers if turn % 2 else reversed(numbers))]
        files.append(tmp_path / f"turn-{turn}.csv")
        files[-1].write_text(HEAD + "".join(rows), encoding="utf-8")

    ended = await asyncio.gather(*(asyncio.to_thread(payctl, shopper, tmp_path, str(file), "--json") for file in files))

    assert [status for status, *_ in ended] == [0] * 6, ended
    found = await offered(shopper, "RACE-")
    assert len(found) == 300
    (name,) = {product["name"] for product in found.values()}
    assert {product["prices"]["usd"] for product in found.values()} == {(int(name.split()[1]) + 1) * 100}
