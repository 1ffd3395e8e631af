"""The reference page is made of the document alone, and shows it whole."""

from html.parser import HTMLParser
from typing import Annotated

from pydantic import BaseModel, Field

from payments_shared.http.api import Api
from payments_shared.http.openapi import document
from payments_shared.http.operations import Answer, Body, Operation, Parameter, Refusal, Section, people
from payments_shared.http.reference import page


class Tea(BaseModel):
    """What <b>kind</b> of tea."""

    leaf: Annotated[str, Field(max_length=9, description="<script>alert(1)</script>")]


BREW = Operation(
    method="POST",
    path="/pots/{pot:[a-z]{3}}/brew",
    id="brew",
    summary="Brew & pour.",
    description="First `water`.\n\nThen <tea>.",
    callers=(people("customer", "admin"),),
    parameters=(Parameter("pot", "path", "Which of them."),),
    body=Body(Tea, {"leaf": "oolong"}),
    answers=(Answer(200, "It is hot.", Tea),),
    refusals=(Refusal(418, "teapot", "it is short and stout."),),
)
API = Api(service="teapot", summary="Tea.", internal=(Section("brewing", "For thirst.", (BREW,)),))


class Tags(HTMLParser):
    """The names of all elements, the targets of all links, and all ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names.add(tag)
        self.links |= {given.get("href") or ""} - {""}
        self.ids += [given["id"] or ""] if "id" in given else []


def test_texts_of_the_document_stay_text() -> None:
    text = page(document(API), "/openapi.json")

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<p>Then &lt;tea&gt;.</p>" in text
    assert "<p>First <code>water</code>.</p>" in text
    assert {"script", "b", "tea", "img", "link", "iframe"} & Tags(text).names <= {"b"}
    assert "<b>kind</b>" not in text


def test_every_link_leads_somewhere_on_the_page_or_to_the_document() -> None:
    found = Tags(page(document(API), "/openapi.json"))

    assert len(set(found.ids)) == len(found.ids)
    assert {link.removeprefix("#") for link in found.links} <= {*found.ids, "/openapi.json"}
    assert {"brew", "shape-Tea", "credential-bearer"} <= set(found.ids)


def test_an_operation_is_shown_with_its_roles_its_codes_and_what_it_takes() -> None:
    text = page(document(API), "/openapi.json")

    for told in (
        "customer or admin",
        "<code>teapot</code>: it is short",
        "9 characters at most",
        "^[a-z]{3}$",
        "oolong",
    ):
        assert told in text, told
