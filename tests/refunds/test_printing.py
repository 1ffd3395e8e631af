"""A pack on paper: A4, the same bytes for the same pack, and names in whatever they are written."""

import asyncio
import re
from dataclasses import replace
from uuid import UUID

import pytest
from fpdf.fonts import TTFFont

from payments_shared.errors import Refused
from refunds.decide.exhibiting import pack_of
from refunds.model.bills import Line
from refunds.model.packs import Pack
from refunds.routes import printing
from refunds.routes.printing import SCRIPTS, SIZE_MAX, print_pack
from tests.refunds.cases import BILL, case, order, refund

NAMES = (
    "Иван Петров, Ελευθερία, Nguyễn Thị, Łukasz Żółć, Ðæŋ €", "山田太郎, 李小龍, 김철수, ｱｲｳ", "محمد علي", "שלום עולם",
    "สมชาย ใจดี", "राम शर्मा", "გიორგი", "Հայկ", "ሰላም", "রহিম", "ગાંધી", "ਸਿੰਘ", "கண்ணன்", "రాము", "ರಾಮ", "രാമൻ", "රාම",
    "ສົມ", "မောင်", "ខ្មែរ", "ଓଡ଼ିଆ",
    "★ 🎁 ☕", "№ ⅓ →",
)  # fmt: skip


def named(name: str) -> Pack:
    """A pack whose buyer is called `name`."""
    return pack_of(replace(case(), order=order(customer={"email": "a@b.example", "name": name})))


async def printed(pack: Pack) -> bytes:
    """As the service prints: beside its loop, which goes on meanwhile."""
    return await asyncio.to_thread(print_pack, pack)


async def test_the_same_pack_makes_the_same_bytes() -> None:
    pack = pack_of(case(refunds=[refund()]))

    first = await printed(pack)

    assert first == await printed(Pack.model_validate(pack.model_dump(mode="json")))
    assert first.startswith(b"%PDF-")
    assert b"/MediaBox [0 0 595.28 841.89]" in first
    assert len(first) < 200_000


def without_glyphs(text: str) -> set[str]:
    """Characters of a text that none of the fonts has which are loaded for it."""
    fonts = printing._blank(named(text)).fonts.values()
    return {one for one in text if not any(ord(one) in font.cmap for font in fonts if isinstance(font, TTFFont))}


async def test_names_print_in_whatever_they_are_written() -> None:
    text = " / ".join(NAMES)

    made = await printed(named(text))

    assert without_glyphs(text) == set()
    assert without_glyphs("\U00012000") == {"\U00012000"}  # of what no font has the test would know
    fonts = set(re.findall(rb"/BaseFont /[A-Z]+\+([A-Za-z]+)", made))
    assert len(fonts) == len(SCRIPTS) + 2  # the base font, and that of East Asia


async def test_only_fonts_that_a_pack_needs_are_in_it() -> None:
    latin = replace(order(), bill=replace(BILL, lines=(Line("TEA", "Tea", 1, 10_000, (("TEA", 1),)),)))
    plain = pack_of(replace(case(), order=latin, exhibits=()))

    made = await printed(plain)

    assert len(set(re.findall(rb"/BaseFont /[A-Z]+\+[A-Za-z]+", made))) == 1


async def test_a_pack_with_very_much_in_it_is_still_taken() -> None:
    lines = tuple(Line(f"SKU-{n}", f"Goods {n} 茶", 1, 100, ((f"SKU-{n}", 1),)) for n in range(1_000))
    many = [refund(refund_id=UUID(int=100 + n), stripe_refund_id=f"re_{n}") for n in range(100)]
    large = replace(case(reason="general", refunds=many), order=order(bill=replace(BILL, lines=lines)))

    made = await printed(pack_of(large))

    assert len(made) < SIZE_MAX // 4
    assert made.count(b"/Type /Page\n") < 40


async def test_a_document_that_stripe_does_not_take_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "SIZE_MAX", 1_000)

    with pytest.raises(Refused) as refusal:
        await printed(pack_of(case()))

    assert (refusal.value.code, refusal.value.status) == ("document_too_large", 409)
