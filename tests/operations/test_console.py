"""Who comes into the console, what each may do there, and that nobody else does it through his browser."""

import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from operations.store import letters
from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.operations.desk import Desk, desk_at, spoiled, unheld
from tests.operations.test_editing import body_of, misspelt
from tests.operations.visitors import SESSION, Visitor

pytestmark = pytest.mark.servers
LETTERS = "/console/dead-letters"


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk with an identity provider beside it."""
    names, folder = ("identity", "fulfillment", "operations"), tmp_path_factory.mktemp("desk")
    async with desk_at(servers, folder, names=names, mark="t" + secrets.token_hex(4)) as made:
        yield made


@pytest.fixture
def visitor(desk: Desk) -> Visitor:
    return Visitor(desk.deployment, desk.http)


@pytest.fixture(scope="module")
async def olga(desk: Desk) -> Visitor:
    """An operator who is signed in."""
    made = Visitor(desk.deployment, desk.http)
    await made.sign_in("olga")
    return made


async def sessions(desk: Desk, subject: str) -> int:
    return int(await desk.owner.fetchval("SELECT count(*) FROM operations.sessions WHERE subject = $1", subject))


# -- coming in and leaving -------------------------------------------------------------------------------------------


async def test_a_person_comes_in_by_the_provider_and_leaves_for_good(desk: Desk, visitor: Visitor) -> None:
    asked = await visitor.look(f"{LETTERS}/list?status=open")
    assert (asked.status, asked.location) == (
        303,
        "/console/sign-in?to=%2Fconsole%2Fdead-letters%2Flist%3Fstatus%3Dopen",
    )

    back = await visitor.sign_in("bea", f"{LETTERS}/list?status=open")

    assert (back.status, back.location) == (303, f"{LETTERS}/list?status=open")
    (cookie,) = [line for name, line in back.headers.items() if name == "Set-Cookie" and line.startswith(SESSION)]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"secure", "httponly", "samesite=lax", "path=/"}, "and no domain"
    token = visitor.cookies[SESSION]
    assert "Bea Brandt" in (await visitor.look(back.location)).plain
    kept = await desk.owner.fetchrow("SELECT * FROM operations.sessions WHERE subject = 'bea'")
    assert kept is not None
    assert kept["token_hash"] == hashlib.sha256(token.encode()).digest()
    assert token not in str(dict(kept))
    assert kept["roles"] == ["approver", "operator"]

    left = await visitor.send("/console/sign-out", page="/console")

    assert (left.status, left.location) == (303, "/console/sign-in")
    assert SESSION not in visitor.cookies
    visitor.cookies[SESSION] = token
    assert (await visitor.look("/console")).location.startswith("/console/sign-in"), "the token is worth nothing"


async def test_the_way_back_is_open_once_and_to_the_browser_that_went(desk: Desk, visitor: Visitor) -> None:
    before = await sessions(desk, "vera")
    way = await visitor.way_back("vera")
    other = Visitor(desk.deployment, desk.http)
    await other.look("/console/sign-in/start")

    assert [(await one.look(way)).status for one in (Visitor(desk.deployment, desk.http), other)] == [400, 400]
    assert (await visitor.look(way)).status == 303
    assert (await visitor.look(way)).status == 400, "the attempt is over"
    assert await sessions(desk, "vera") == before + 1
    assert SESSION not in other.cookies


async def test_a_code_is_good_once_even_for_the_browser_that_went(desk: Desk, visitor: Visitor) -> None:
    way = await visitor.way_back("vera")
    attempt = dict(visitor.cookies)
    await visitor.look(way)
    again = Visitor(desk.deployment, desk.http, attempt)

    assert (await again.look(way)).status == 400
    assert SESSION not in again.cookies


async def test_who_has_no_role_or_says_no_stays_outside(desk: Desk, visitor: Visitor) -> None:
    for subject, said in (("nils", "have no role"), ("", "Nobody was signed in")):
        refused = await visitor.sign_in(subject)
        assert (refused.status, said in refused.plain) == (403, True)
        assert SESSION not in visitor.cookies
    assert await sessions(desk, "nils") == 0


@pytest.mark.parametrize("column", ["seen_at", "ends_at"])
async def test_a_session_ends_when_nobody_comes_and_in_any_case(desk: Desk, visitor: Visitor, column: str) -> None:
    await visitor.sign_in("amir")
    assert (await visitor.look("/console")).status == 200

    await desk.owner.execute(
        f"UPDATE operations.sessions SET {column} = now() - interval '31 min' WHERE subject = 'amir'"
    )

    assert (await visitor.look("/console")).status == 303
    part = await visitor.look(
        "/console/services", **{"HX-Request": "true", "HX-Current-URL": visitor.origin + "/console"}
    )
    assert (part.status, part.headers["HX-Redirect"]) == (401, "/console/sign-in?to=%2Fconsole")


async def test_who_signs_in_again_leaves_no_session_behind(desk: Desk, visitor: Visitor) -> None:
    await visitor.sign_in("amir")
    older = visitor.cookies[SESSION]
    await visitor.sign_in("amir")

    assert (await visitor.look("/console")).status == 200
    assert (await Visitor(desk.deployment, desk.http, {SESSION: older}).look("/console")).status == 303


async def test_what_a_page_asks_for_by_itself_does_not_keep_a_session_awake(desk: Desk, visitor: Visitor) -> None:
    await visitor.sign_in("vera")
    key = hashlib.sha256(visitor.cookies[SESSION].encode()).digest()
    age = "UPDATE operations.sessions SET seen_at = now() - interval '20 min' WHERE token_hash = $1 RETURNING seen_at"
    aged = await desk.owner.fetchval(age, key)
    seen = "SELECT seen_at FROM operations.sessions WHERE token_hash = $1"

    assert (await visitor.look("/console/services", **{"HX-Request": "true"})).status == 200
    assert await desk.owner.fetchval(seen, key) == aged
    assert (await visitor.look("/console")).status == 200
    assert await desk.owner.fetchval(seen, key) > aged


# -- nobody else through his browser ---------------------------------------------------------------------------------


async def test_a_form_that_no_page_of_this_session_sent_does_nothing(desk: Desk, olga: Visitor) -> None:
    letter = (await desk.fail([unheld()]))[0]
    bulk = str(new_id())
    own, csrf = olga.origin, (await olga.look("/console")).csrf
    stranger = Visitor(desk.deployment, desk.http)
    await stranger.sign_in("bea")
    theirs = (await stranger.look("/console")).csrf
    fields = {"csrf": csrf, "reason": "a test", "act": "discard", "id": letter, "rate": "50", "limit": "10"}
    json_type = {"Content-Type": "application/json"}
    forged: list[tuple[Any, dict[str, str], int]] = [
        (fields, {}, 403),
        (fields, {"Origin": "https://evil.example"}, 403),
        (fields, {"Origin": "null"}, 403),
        (fields, {"Origin": own.replace("http", "https")}, 403),
        (fields, {"Origin": own, "Sec-Fetch-Site": "cross-site"}, 403),
        (fields, {"Origin": own, "Sec-Fetch-Site": "same-site"}, 403),
        ({**fields, "csrf": ""}, {"Origin": own}, 403),
        ({**fields, "csrf": theirs}, {"Origin": own}, 403),
        ({name: value for name, value in fields.items() if name != "csrf"}, {"Origin": own}, 403),
        (json.dumps(fields), {"Origin": own, **json_type}, 415),
        (json.dumps(fields), {"Origin": own, "Content-Type": "text/plain"}, 415),
    ]
    acts = [f"{LETTERS}/{letter}/replay", f"{LETTERS}/{letter}/edit", "/console/bulks/new", "/console/sign-out"]
    acts += [f"{LETTERS}/archive", f"{LETTERS}/unarchive"]
    acts += [f"/console/bulks/{bulk}/{act}" for act in ("pause", "resume", "cancel")]

    for act in acts:
        for data, headers, status in forged:
            assert (await olga.ask("POST", act, data=data, **headers)).status == status, (act, data, headers)

    assert (await olga.look("/console")).status == 200, "nor was anybody signed out"
    assert (await desk.letter(letter))["status"] == "open"
    assert await desk.audit([letter]) == []


async def test_who_may_only_look_changes_nothing(desk: Desk) -> None:
    letter = (await desk.fail([unheld()]))[0]
    for subject in ("vera", "amir"):
        looker = Visitor(desk.deployment, desk.http)
        await looker.sign_in(subject)
        for path in ("/console", LETTERS, f"{LETTERS}/{letter}", "/console/bulks", "/console/audit"):
            assert (await looker.look(path)).status == 200, path
        for path in (
            f"{LETTERS}/{letter}/edit",
            f"/console/bulks/new?act=replay&id={letter}",
            f"{LETTERS}/archive?id={letter}",
        ):
            assert (await looker.look(path)).status == 403, path
        acts = [f"{LETTERS}/{letter}/replay", f"{LETTERS}/{letter}/edit", "/console/bulks/new"]
        for act in (*acts, f"{LETTERS}/archive", f"{LETTERS}/unarchive"):
            fields = {"reason": "a test", "act": "discard", "id": letter, "rate": "50", "limit": "9", "step": "start"}
            assert (await looker.send(act, page="/console", **fields)).status == 403, act
    assert await desk.audit([letter]) == []


async def test_every_page_is_closed_and_neither_port_serves_the_other(desk: Desk, olga: Visitor) -> None:
    letter = (await desk.fail([unheld()]))[0]
    for path in (
        "/console",
        LETTERS,
        f"{LETTERS}/list",
        f"{LETTERS}/{letter}",
        "/console/audit",
        "/console/nowhere",
        "/console/sign-in",
    ):
        headers = (await olga.look(path)).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    token = {"Authorization": f"Bearer {desk.deployment.keys.token('olga', 'operator')}"}
    stranger = Visitor(desk.deployment, desk.http)
    for path in ("/admin/dead-letters/groups", "/metrics", "/readyz", "/console"):
        assert (await stranger.look(path, **token)).status == 303, path
    internal = desk.deployment.internal_url("operations")
    assert (await olga.look(f"{internal}/console")).status == 404
    assert (await olga.look(f"{internal}/admin/dead-letters/groups")).status == 401, "a cookie is no token"


# -- acting ----------------------------------------------------------------------------------------------------------


async def test_one_goes_back_and_the_audit_says_who_sent_it(desk: Desk, olga: Visitor) -> None:
    letter = (await desk.fail([unheld()]))[0]
    page = f"{LETTERS}/{letter}"
    assert (await olga.send(f"{page}/replay", page=page, reason="x")).status == 422, "a reason is one"

    sent = await olga.send(f"{page}/replay", page=page, reason="the cause is mended")

    assert (sent.status, sent.location) == (303, f"{page}?said=replayed")
    await desk.until_letter(letter, "resolved")
    shown = (await olga.look(page)).plain
    assert "It took effect" in shown
    assert [(row["action"], row["actor"], row["reason"]) for row in await desk.audit([letter])] == [
        ("replay", "olga", "the cause is mended"),
        ("resolved", "service:fulfillment", "applied"),
    ]
    trail = (await olga.look("/console/audit?actor=olga")).plain
    assert "the cause is mended" in trail


async def test_a_copy_is_checked_shown_and_sent(desk: Desk, olga: Visitor) -> None:
    stray = misspelt()
    letter = (await desk.fail([stray]))[0]
    page, body = f"{LETTERS}/{letter}/edit", body_of(stray)

    refused = await olga.send(
        page, page=page, step="send", reason="misspelt", body=json.dumps({**body, "subject": "ord_x"})
    )
    assert (refused.status, "/subject" in refused.plain) == (422, True)
    assert (await olga.send(page, page=page, step="check", body="{")).status == 422
    body["data"]["reason"] = "amount_mismatch"
    checked = await olga.send(page, page=page, step="check", body=json.dumps(body))
    assert (checked.status, "The copy may go." in checked.plain, "/data/reason" in checked.plain) == (200, True, True)
    assert await desk.audit([letter]) == [], "to check is no act"
    sent = await olga.send(page, page=page, step="send", reason="misspelt", body=json.dumps(body))

    assert (sent.status, sent.location) == (303, f"{LETTERS}/{letter}?said=edited")
    await desk.until_letter(letter, "resolved")


async def test_many_go_only_once_their_number_is_typed(desk: Desk, olga: Visitor) -> None:
    letters = await desk.fail([spoiled() for _ in range(12)])
    draft = "/console/bulks/new?act=discard&" + "&".join(f"id={one}" for one in letters)
    shown = await olga.look(draft)
    assert "It takes 12 messages" in shown.plain
    fields = {"csrf": shown.csrf, "act": "discard", "reason": "a test", "rate": "50", "limit": "100", "step": "start"}
    form = [*fields.items(), *(("id", one) for one in letters)]

    assert 'name="shown" value="12"' in shown.text
    for typed in ((), (("typed", "11"), ("shown", "12")), (("typed", "12"),), (("typed", ""), ("shown", ""))):
        refused = await olga.ask("POST", "/console/bulks/new", data=[*form, *typed], Origin=olga.origin)
        assert (refused.status, "must be the number that was shown" in refused.plain) == (422, True)
    assert (await desk.statuses(letters))["open"] == 12
    started = await olga.ask(
        "POST", "/console/bulks/new", data=[*form, ("typed", "12"), ("shown", "12")], Origin=olga.origin
    )

    assert started.status == 303, started.plain
    bulk = started.location.partition("?")[0]
    await desk.until(bulk.rpartition("/")[2], "done")
    assert "12 of 12 have ended" in (await olga.look(f"{bulk}/progress")).plain
    assert (await desk.statuses(letters))["discarded"] == 12
    everything = await olga.look("/console/bulks/new?act=discard")
    assert "Name ids, a service" in everything.plain


async def test_what_is_settled_goes_out_of_sight_and_is_found_again(desk: Desk, olga: Visitor) -> None:
    letter, waiting = await desk.fail([unheld(), unheld()], error=KeyError("shelved"))
    page, fingerprint = f"{LETTERS}/{letter}", (await desk.letter(letter))["fingerprint"]
    listed = f"{LETTERS}/list?fingerprint={fingerprint}"
    assert (await olga.send(f"{LETTERS}/archive", page=page, id=letter, reason="not yet")).status == 409
    await olga.send(f"{page}/replay", page=page, reason="the cause is mended")
    await desk.until_letter(letter, "resolved")

    draft = await olga.look(f"{LETTERS}/archive?id={letter}&id={waiting}")
    assert (draft.status, "Archive 2" in draft.plain) == (200, True)
    form = [("csrf", draft.csrf), ("id", letter), ("id", waiting), ("reason", "all is well")]
    sent = await olga.ask("POST", f"{LETTERS}/archive", data=form, Origin=olga.origin)

    assert (sent.status, sent.location) == (303, f"{LETTERS}/list?said=archived")
    shown, archived, every = [(await olga.look(listed + more)).text for more in ("", "&archived=1", "&archived=any")]
    assert [(one in shown, one in archived, one in every) for one in (letter, waiting)] == [
        (False, True, True),
        (True, False, True),
    ], "only what is settled"
    assert letter in (await olga.look(f"/console/search?q={letter}")).text
    assert "In the archive" in (await olga.look(page)).plain
    assert [row["action"] for row in await desk.audit([letter])][-1] == "archive"
    assert (await desk.call("GET", f"/admin/dead-letters?archived=1&id={letter}"))[1]["dead_letters"] != []
    back = await olga.send(f"{LETTERS}/unarchive", page=page, id=letter, reason="not over")
    assert (back.status, back.location) == (303, f"{page}?said=unarchived")
    assert letter in (await olga.look(listed)).text
    assert (await olga.send(f"{LETTERS}/unarchive", page=page, id=letter, reason="not over")).status == 409


async def test_what_fails_again_leaves_the_archive_by_itself(desk: Desk, olga: Visitor) -> None:
    stray = unheld()
    (letter,) = await desk.fail([stray])
    bulk = await desk.start("discard", filter={"ids": [letter]})
    await desk.until(bulk["id"], "done")
    assert (await desk.call("POST", "/admin/dead-letters/archive", {"ids": [letter], "reason": "noise"}))[0] == 200

    await desk.fail([stray])

    again = await desk.until_letter(letter, "open", failures=2)
    assert again["archived_at"] is None


async def test_a_page_that_asks_again_and_again_is_not_given_the_whole_letter(desk: Desk, olga: Visitor) -> None:
    letter = (await desk.fail([unheld()]))[0]

    part = await olga.look(f"{LETTERS}/{letter}/state", **{"HX-Request": "true"})
    async with desk.owner.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL search_path = operations")
        read = await letters.standing(connection, UUID(letter))

    assert read is not None
    assert not {"body", "headers", "stack"} & {*read, *read["attempts_made"][0]}
    assert (part.status, "It waits for somebody" in part.plain) == (200, True)
    assert (await olga.look(f"{LETTERS}/{new_id()}/state", **{"HX-Request": "true"})).status == 404


# -- finding ---------------------------------------------------------------------------------------------------------


async def test_pages_of_a_list_follow_each_other_and_miss_nothing(desk: Desk, olga: Visitor) -> None:
    letters = await desk.fail([unheld() for _ in range(60)], error=KeyError("paging"))
    fingerprint = (await desk.letter(letters[0]))["fingerprint"]

    first = await olga.look(f"{LETTERS}/list?fingerprint={fingerprint}")
    following = [part.partition('"')[0] for part in first.text.split('href="') if "before=" in part.partition('"')[0]]
    second = await olga.look(following[0].replace("&amp;", "&"))

    pages = [{one for one in letters if one in page.text} for page in (first, second)]
    assert [len(page) for page in pages] == [50, 10]
    assert pages[0] | pages[1] == set(letters)
    assert "before=" not in second.text


async def test_an_order_is_found_by_whatever_names_it_and_its_story_is_told(desk: Desk, olga: Visitor) -> None:
    order, cause, effect = f"ord_{new_id().hex}", new_id(), new_id()
    intent = f"pi_{secrets.token_hex(12)}"
    sql = """INSERT INTO operations.timeline (message_id, order_ref, type, source, subject, causation_id, time, data)
             VALUES ($1, $2, $3, 'payments/checkout', $2, $4, now(), $5::text::jsonb)"""
    await desk.owner.execute(sql, cause, order, "order.placed.v1", None, json.dumps({"order_id": order}))
    data = json.dumps({"payments": [{"payment_intent": intent}], "note": "<script>alert(1)</script>"})
    await desk.owner.execute(sql, effect, order, "order.paid.v1", str(cause), data)

    for term in (order, intent, str(effect)):
        found = await olga.look(f"/console/search?q={term}")
        assert f'href="/console/orders/{order}"' in found.text, term
    story = await olga.look(f"/console/orders/{order}")
    assert "because of order.placed.v1" in story.plain
    assert "<script>alert" not in story.text
    assert "stands nowhere" in (await olga.look(f"/console/search?q=pi_{'0' * 24}")).plain
    assert "Nobody is found by an address" in (await olga.look("/console/search?q=ada@example.com")).plain


async def test_the_first_page_says_what_waits_and_how_the_services_are(desk: Desk, olga: Visitor) -> None:
    await desk.fail([unheld()])

    home = (await olga.look("/console")).plain
    services = (await olga.look("/console/services", **{"HX-Request": "true"})).plain

    assert "fulfillment" in home
    assert "fulfillment ready" in services
    assert "checkout no answer" in services, "nobody started it"
