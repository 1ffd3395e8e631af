"""A pack on paper: an A4 document for the bank of a buyer.

The same pack makes the same bytes. Fonts come from packages of the Noto family, which have what names and addresses are
written in; each is loaded only where a pack needs it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from payments_shared.errors import Refused
from refunds.decide.exhibiting import in_words
from refunds.model.packs import Pack, PackCharge, PackOrder, PackParcel

if TYPE_CHECKING:
    from fpdf import FPDF  # imported where something is printed: it is large, and most processes never do

SIZE_MAX: Final = 4_500_000  # bytes; source: Stripe, "Dispute evidence best practices"
TIMELINE_MAX: Final = 300
LINES_MAX: Final = 200
BASE: Final = ("base", "manimgx_fonts", "NotoSans[wght].ttf")
SCRIPTS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "Hebrew": ("\u0590-\u05ff\ufb1d-\ufb4f", "NotoSansHebrew[wght].ttf"),
        "Arabic": ("\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff", "NotoSansArabic[wght].ttf"),
        "Armenian": ("\u0530-\u058f", "NotoSansArmenian[wght].ttf"),
        "Devanagari": ("\u0900-\u097f", "NotoSansDevanagari[wght].ttf"),
        "Bengali": ("\u0980-\u09ff", "NotoSansBengali[wght].ttf"),
        "Gurmukhi": ("\u0a00-\u0a7f", "NotoSansGurmukhi[wght].ttf"),
        "Gujarati": ("\u0a80-\u0aff", "NotoSansGujarati[wght].ttf"),
        "Oriya": ("\u0b00-\u0b7f", "NotoSansOriya[wght].ttf"),
        "Tamil": ("\u0b80-\u0bff", "NotoSansTamil[wght].ttf"),
        "Telugu": ("\u0c00-\u0c7f", "NotoSansTelugu[wght].ttf"),
        "Kannada": ("\u0c80-\u0cff", "NotoSansKannada[wght].ttf"),
        "Malayalam": ("\u0d00-\u0d7f", "NotoSansMalayalam[wght].ttf"),
        "Sinhala": ("\u0d80-\u0dff", "NotoSansSinhala[wght].ttf"),
        "Thai": ("\u0e00-\u0e7f", "NotoSansThai[wght].ttf"),
        "Lao": ("\u0e80-\u0eff", "NotoSansLao[wght].ttf"),
        "Myanmar": ("\u1000-\u109f", "NotoSansMyanmar[wght].ttf"),
        "Georgian": ("\u10a0-\u10ff\u1c90-\u1cbf", "NotoSansGeorgian[wght].ttf"),
        "Ethiopic": ("\u1200-\u139f", "NotoSansEthiopic[wght].ttf"),
        "Khmer": ("\u1780-\u17ff", "NotoSansKhmer[wght].ttf"),
        "Symbols": ("\u2100-\u25ff\u2b00-\u2bff", "NotoSansSymbols[wght].ttf"),
        "Emoji": ("\u2600-\u27bf\U0001f000-\U0001faff", "NotoEmoji[wght].ttf"),
    }
)
"""Characters of each script that the base font lacks, and the font that has them."""
EAST_ASIAN: Final = re.compile(
    "[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)
_INK: Final = (32, 32, 38)
_FAINT: Final = (110, 110, 118)
_RULE: Final = (205, 205, 212)
_HEAD: Final = (240, 240, 244)


def print_pack(pack: Pack) -> bytes:
    """The document.

    Raises:
        Refused: 409 `document_too_large`: it has more than `SIZE_MAX` bytes.
    """
    page = _Page(pack)
    page.title()
    page.facts("Dispute", _dispute(pack))
    if pack.order is not None:
        page.facts("Order", _order(pack.order))
        page.grid("What was bought", ("Quantity", "Goods", "SKU", "Amount"), _lines(pack.order), (14, 46, 22, 18))
    for charge in pack.charges:
        page.facts("The disputed payment" if charge.disputed else "Another payment of the order", _charge(charge))
    page.grid("Delivery", ("Carrier", "Tracking", "Shipped", "Delivered"), map(_parcel, pack.parcels), (22, 30, 24, 24))
    page.grid("Refunds", ("Amount", "Status", "Since", "At Stripe"), _refunds(pack), (22, 18, 28, 32))
    page.grid("What happened", ("Time (UTC)", "Event"), _timeline(pack), (24, 76))
    page.grid("Mails to the buyer", ("Time (UTC)", "Mail", "To"), _mails(pack), (24, 32, 44))
    page.words("Statement", pack.evidence.get("uncategorized_text", ""))
    for name, heading in _STATEMENTS.items():
        page.words(heading, pack.evidence.get(name, ""))
    made = page.bytes()
    if len(made) > SIZE_MAX:
        raise Refused("document_too_large", f"It has {len(made)} bytes; Stripe takes {SIZE_MAX}.")
    return made


_STATEMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "duplicate_charge_explanation": "Why it is no duplicate",
        "refund_policy_disclosure": "What buyers are told of refunds",
        "refund_refusal_explanation": "Refunds that were asked for",
        "cancellation_rebuttal": "About subscriptions",
    }
)

Facts = Iterable[tuple[str, str | None]]


# -- what is said ------------------------------------------------------------------------------------------------------


def _dispute(pack: Pack) -> Facts:
    dispute = pack.dispute
    yield "Dispute", dispute.id
    yield "Amount", in_words(dispute.amount_minor, dispute.currency)
    yield "Reason", dispute.reason.replace("_", " ")
    yield "Reason code of the network", dispute.network_reason_code
    yield "Charge", dispute.charge
    yield "Opened", _time(dispute.opened_at)


def _order(order: PackOrder) -> Facts:
    yield "Order", order.order_id
    yield "Placed", _time(order.placed_at)
    yield "Paid", _time(order.paid_at)
    yield "Buyer", order.customer_name
    yield "E-mail", order.customer_email
    yield "Signed in", "yes" if order.signed_in else None
    yield "IP address", order.ip_address
    yield "Browser", order.user_agent
    yield "Sent to", ", ".join(order.shipping_address)
    yield "Way of shipping", order.shipping_option
    yield "Goods", in_words(order.subtotal_minor, order.currency)
    for name, amount in (
        ("Discount", -order.discount_minor),
        ("Shipping", order.shipping_minor),
        ("Tax", order.tax_minor),
    ):
        yield name, in_words(amount, order.currency) if amount else None
    yield "Total", in_words(order.total_minor, order.currency)


def _charge(charge: PackCharge) -> Facts:
    card = " ".join(part for part in (charge.brand or charge.method, charge.last4 and f"•••• {charge.last4}") if part)
    yield "Charge", charge.id
    yield "Taken", _time(charge.at)
    yield "Amount", in_words(charge.amount_minor, charge.currency)
    yield "Paid with", " ".join(part for part in (card, charge.wallet and f"by {charge.wallet}") if part)
    yield "Issued in", charge.country
    yield "3-D Secure", _secured(charge)
    yield "Security code", charge.cvc_check
    yield "Street address", charge.line1_check
    yield "Postal code", charge.postal_code_check
    yield "The network", charge.network_status and charge.network_status.replace("_", " ")
    yield "Risk", charge.risk_level and f"{charge.risk_level}{_score(charge)}"
    yield "Billed to", ", ".join(part for part in (charge.billing_name, *charge.billing_address) if part)


def _secured(charge: PackCharge) -> str | None:
    parts = (charge.three_d_secure, charge.three_d_secure_flow, charge.three_d_secure_version)
    return ", ".join(part.replace("_", " ") for part in parts if part) or None


def _score(charge: PackCharge) -> str:
    return f" ({charge.risk_score} of 100)" if charge.risk_score is not None else ""


def _lines(order: PackOrder) -> Iterator[tuple[str, ...]]:
    for line in order.lines[:LINES_MAX]:
        yield str(line.quantity), line.name, line.sku, in_words(line.amount_minor, order.currency)
    if (more := len(order.lines) - LINES_MAX) > 0:
        yield "", f"and {more} lines more", "", ""


def _parcel(parcel: PackParcel) -> tuple[str, ...]:
    arrived = _time(parcel.delivered_at) or ""
    came_back = f", returned {_time(parcel.returned_at)}" if parcel.returned_at else ""
    return parcel.carrier or "", parcel.tracking_number or "", _time(parcel.shipped_at) or "", arrived + came_back


def _refunds(pack: Pack) -> Iterator[tuple[str, ...]]:
    for refund in pack.refunds:
        amount = in_words(refund.amount_minor, refund.currency)
        yield amount, refund.status.replace("_", " "), _time(refund.at) or "", refund.stripe_refund_id or ""


def _timeline(pack: Pack) -> Iterator[tuple[str, ...]]:
    for event in pack.timeline[:TIMELINE_MAX]:
        yield _time(event.at) or "", event.what
    if (more := len(pack.timeline) - TIMELINE_MAX) > 0:
        yield "", f"and {more} events more"


def _mails(pack: Pack) -> Iterator[tuple[str, ...]]:
    for mail in pack.mails[:TIMELINE_MAX]:
        yield _time(mail.at) or "", mail.kind.replace("_", " "), mail.recipient


def _time(at: str | None) -> str | None:
    return f"{at[:10]} {at[11:16]}" if at else None


# -- how it looks ------------------------------------------------------------------------------------------------------


class _Page:
    """The pages as they grow."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.pdf = _blank(pack)

    def title(self) -> None:
        """What this is."""
        pdf, dispute = self.pdf, self.pack.dispute
        pdf.set_font("base", size=18)
        self._line("Evidence of a disputed payment", 9)
        pdf.set_font("base", size=9)
        pdf.set_text_color(*_FAINT)
        self._line("All times are UTC.", 5)
        self._line(
            f"{dispute.id}, {in_words(dispute.amount_minor, dispute.currency)}, {dispute.reason.replace('_', ' ')}", 5
        )
        pdf.set_text_color(*_INK)

    def facts(self, heading: str, facts: Facts) -> None:
        """Names and values, without those that are not known."""
        known = [(name, value) for name, value in facts if value]
        self._heading(heading, rows=known)
        for name, value in known:
            self._fact(name, value)

    def grid(self, heading: str, heads: Sequence[str], rows: Iterable[Sequence[str]], widths: tuple[int, ...]) -> None:
        """A table; nothing at all without rows. `widths` are hundredths."""
        listed = list(rows)
        if not listed:
            return
        from fpdf.enums import TableBordersLayout
        from fpdf.fonts import FontFace

        self._heading(heading, rows=listed)
        head = FontFace(color=_FAINT, fill_color=_HEAD)
        self.pdf.set_font("base", size=8.5)
        self.pdf.set_draw_color(*_RULE)
        with self.pdf.table(
            headings_style=head, borders_layout=TableBordersLayout.HORIZONTAL_LINES, col_widths=widths, line_height=4.6,
            padding=(0.6, 1, 0.6, 1), text_align="LEFT",
        ) as table:  # fmt: skip
            for row in (heads, *listed):
                table.row(list(row))

    def words(self, heading: str, text: str) -> None:
        """A text in paragraphs; nothing at all without one."""
        if not text:
            return
        self._heading(heading, rows=())
        self.pdf.set_font("base", size=9)
        self.pdf.multi_cell(0, 4.8, text, new_x="LMARGIN", new_y="NEXT", align="LEFT")

    def bytes(self) -> bytes:
        """The document."""
        return bytes(self.pdf.output())

    def _heading(self, text: str, *, rows: Sequence[object]) -> None:
        pdf = self.pdf
        if pdf.will_page_break(26 if rows else 20):  # never alone at the foot of a page
            pdf.add_page()
        pdf.ln(4)
        pdf.set_font("base", size=11.5)
        self._line(text, 6)
        pdf.set_draw_color(*_RULE)
        pdf.line(pdf.l_margin, pdf.get_y(), pdf.w - pdf.r_margin, pdf.get_y())
        pdf.ln(1.5)

    def _fact(self, name: str, value: str) -> None:
        pdf = self.pdf
        pdf.set_font("base", size=9)
        if pdf.will_page_break(4.8):
            pdf.add_page()
        pdf.set_text_color(*_FAINT)
        pdf.cell(44, 4.8, name, new_x="RIGHT", new_y="TOP")
        pdf.set_text_color(*_INK)
        pdf.multi_cell(0, 4.8, value, new_x="LMARGIN", new_y="NEXT", align="LEFT")

    def _line(self, text: str, height: float) -> None:
        self.pdf.cell(0, height, text, new_x="LMARGIN", new_y="NEXT")


def _blank(pack: Pack) -> "FPDF":
    from fpdf import FPDF

    class Numbered(FPDF):
        """Each page says of what it is a part."""

        def footer(self) -> None:
            self.set_y(-13)
            self.set_font("base", size=7)
            self.set_text_color(*_FAINT)
            self.cell(0, 4, f"{pack.dispute.id}, pack {pack.digest[:16]}, page {self.page_no()} of {{nb}}", align="C")
            self.set_text_color(*_INK)

    pdf = Numbered(format="A4")
    # Of the pack and not of this moment: the same pack makes the same bytes.
    pdf.set_creation_date(datetime.fromisoformat(pack.dispute.opened_at))
    pdf.set_title(f"Evidence of dispute {pack.dispute.id}")
    pdf.set_margins(18, 16, 18)
    pdf.set_auto_page_break(True, margin=18)
    _load_fonts(pdf, pack.model_dump_json())
    pdf.set_text_shaping(True)
    pdf.set_text_color(*_INK)
    pdf.add_page()
    return pdf


def _load_fonts(pdf: "FPDF", text: str) -> None:
    pdf.add_font(BASE[0], fname=_font(BASE[1], BASE[2]))
    needed = [name for name, (characters, _) in SCRIPTS.items() if re.search(f"[{characters}]", text)]
    for name in needed:
        pdf.add_font(name, fname=_font(BASE[1], SCRIPTS[name][1]))
    if EAST_ASIAN.search(text):
        pdf.add_font("EastAsian", fname=_font("noto_cjk_sans_jp_regular", "NotoSansCJKjp-Regular.otf"))
        needed.append("EastAsian")
    pdf.set_fallback_fonts(needed, exact_match=False)


@cache
def _font(package: str, name: str) -> str:
    return str(files(package).joinpath(name))
