"""What is secret or personal leaves no trace in the log, wherever in a line it stands and whoever writes the line."""

import json
import subprocess
import sys
import textwrap
from typing import Final

import pytest
from pydantic import BaseModel, ValidationError

from payments_shared.logs import redact
from payments_shared.redaction import REDACTED, redacted, redacted_body, redacted_text

CANARIES: Final = {
    "secret key": "sk_" + "live_" + "c4n4ry" * 4,
    "restricted key": "rk_" + "test_" + "c4n4ry" * 4,
    "organisation's key": "sk_org_" + "live_" + "c4n4ry" * 4,
    "signing secret": "whsec_" + "c4n4ry" * 5,
    "bearer": "Bearer c4n4ry.c4n4ry.c4n4ry",
    "JWT": "eyJ" + "c4n4ry" + ".eyJ" + "c4n4ry" + "." + "c4n4ry",
    "private key": "-----BEGIN PRIVATE" + " KEY-----\nc4n4ry\n-----END PRIVATE" + " KEY-----",
    "client secret": "pi_3Nabc_secret_c4n4ry",
    "login of a URL": "postgresql://c4n4ry:c4n4ry" + "@db:5432/payments",
    "address": "c4n4ry@example.com",
    "card number": "4242 4242 4242 4242",
    "IBAN": "DE89370400440532013000",
}


@pytest.mark.parametrize("kind", CANARIES)
def test_a_canary_is_gone_wherever_it_stands(kind: str) -> None:
    canary = CANARIES[kind]

    for text in (canary, f"before {canary} after", f'{{"a": "{canary}"}}', f"({canary})", f"x={canary}&y=1"):
        left = redact(text)
        assert REDACTED in left
        assert not any(part in left for part in ("c4n4ry", "4242", "3704"))


@pytest.mark.parametrize("text", ["ord_0199f0a2b3c4", "1234567890123", "2026-08-26.dahlia", "amount 99999999", "co_1"])
def test_what_an_operator_needs_stays(text: str) -> None:
    assert redact(text) == text


SECRET: Final = "pi_3Nabc_secret_c4n4ry"
HIDDEN: Final = (
    f'{{"client_secret": "{SECRET}"}}',
    f'{{"client_secret": "{SECRET}", "client_secret": 1}}',
    f'{{"data": [{{"Client-Secret": "c4n4ry", "note": "see {SECRET}!"}}]}}',
    '{"client_secret":"c4n4ry\\"c4n4ry","a":1}',
    '{"client_secret":"c4n4ry',
    f'{{"object": "{{\\"client_secret\\":\\"c4n4ry\\"}}", "text": "{SECRET}"}}',
    "1 validation error: input_value={'client_secret': 'c4n4ry', 'id': 'pi_1'}",
    "RecoveryLink(token='c4n4ry', expires_at=1)",
    "https://hooks.stripe.com/r?client_secret=src_client_secret_c4n4ry&id=1",
    "https://shop.example/back?payment_intent_client_secret=c4n4ry#end",
    f"ü{SECRET}ü",
    '{"authorization": "Basic c4n4ry", "cookie": "a=c4n4ry", "password": "c4n4ry", "token": "c4n4ry", "secret": "c4n4ry"}',
    '{"Access-Token": "c4n4ry", "set-cookie": "a=c4n4ry", "order_token": "c4n4ry"}',
    "HTTPError: 401 for Authorization: Basic c4n4ryOmM0bjRyeQ==",
    "no answer for order_token=c4n4ry, twice (password=c4n4ry)",
)


@pytest.mark.parametrize("text", HIDDEN)
def test_what_lets_somebody_act_is_not_shown(text: str) -> None:
    for body in (text.encode(), text.encode() + b"\xff\x00", text.encode("latin-1")):
        shown = redacted_body(body)
        assert b"c4n4ry" not in shown
        assert REDACTED.encode() in shown
        assert redacted_body(shown) == shown, "what is shown is shown as it is"


@pytest.mark.parametrize("text", HIDDEN)
def test_nor_is_it_logged(text: str) -> None:
    assert "c4n4ry" not in redact(text)
    assert REDACTED in redact(text)


class _Buyer(BaseModel):
    name: str
    line: int


def _refused_by_pydantic() -> str:
    with pytest.raises(ValidationError) as refused:
        _Buyer.model_validate({"name": {"first": "c4n4ry", "last": ["c4n4ry", "x, input_typ"]}, "line": "c4n4ry 7"})
    return str(refused.value)


_REFUSED: Final = _refused_by_pydantic()


@pytest.mark.parametrize(
    "text",
    [
        _REFUSED,
        _REFUSED[: _REFUSED.rindex("c4n4ry") + 6],
        "null value in column\nDETAIL:  Failing row contains (7, c4n4ry (Ms), null, c4n4ry).",
        "null value in column\nDETAIL:  Failing row contains (7, First c4n4ry\nStreet c4n4ry, null).\n",
        "duplicate key\nDETAIL:  Key (lower(name))=(c4n4ry) already exists.",
        "DETAIL:  Key (name, during)=(c4n4ry, [1,2)) conflicts with existing key (name, during)=(c4n4ry, [1,3)).",
        'DETAIL:  Key (name)=(c4n4ry) is not present in table "buyers".',
        "DETAIL:  Key (name)=(c4n4",
        "DETAIL:  Key (line)=(c4n4ry\nc4n4ry) already exists.",
    ],
)
def test_what_is_said_of_a_refused_value_does_not_log_the_value(text: str) -> None:
    left = redact(text)

    assert "c4n4" not in left
    assert left.count(REDACTED) >= text.count("input_value=")
    assert redact(left) == left


def test_of_a_long_text_both_ends_stay_and_no_half_of_a_secret() -> None:
    middle = "\n".join(f"line {n}: {SECRET}" for n in range(5_000))

    left = redact(f"Traceback\n{middle}\nValueError: it is broken")

    assert left.startswith("Traceback\nline 0:")
    assert left.endswith("\nValueError: it is broken")
    assert "c4n4" not in left
    assert len(left) < 25_000
    assert redact(SECRET * 5_000) == "\n…\n"


def test_what_was_wrong_with_it_stays() -> None:
    left = redact(_REFUSED)

    assert "2 validation errors for _Buyer" in left
    assert "name\n  Input should be a valid string [type=string_type, input_value=[redacted], input_type=dict]" in left
    row = "DETAIL:  Failing row contains (c4n4ry\nx).\n\nDuring handling of the above exception"
    assert redact(row) == "DETAIL:  Failing row contains ([redacted]).\n\nDuring handling of the above exception"
    assert "Key (name)=([redacted]) already exists." in redact("DETAIL:  Key (name)=(c4n4ry) already exists.")


@pytest.mark.parametrize("value", ["c4n4ry", b"c4n4ry", ["c4n4ry"], ("c4n4ry",), {"value": "c4n4ry"}, [[b"c4n4ry"]]])
@pytest.mark.parametrize("name", ["client_secret", "Set-Cookie", b"Token"])
def test_what_has_such_a_name_is_hidden_whatever_it_holds(name: object, value: object) -> None:
    assert list(redacted({name: value}).values()) == [REDACTED]


@pytest.mark.parametrize("kind", [name for name in CANARIES if name not in ("address", "card number", "IBAN")])
def test_what_is_secret_by_its_form_is_not_shown_under_any_name(kind: str) -> None:
    value = {"note": CANARIES[kind], "deep": [{CANARIES[kind]: (CANARIES[kind], CANARIES[kind].encode())}]}

    assert "c4n4ry" not in str(redacted(value))
    assert "c4n4ry" not in redacted_text(json.dumps(value["note"]))


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"pi_1","customer":{"email":"ada@example.com"},"token":null,"secret":7,"n":1.50, "a" : [ ] }',
        b'{"network_token":{"used":false},"payment_method":"pm_1","note":"a token: none"}',
        b"\xff\xfe no text",
        "kein JSON, aber schön".encode(),
        b"",
    ],
)
def test_what_holds_no_secret_is_shown_byte_for_byte(body: bytes) -> None:
    assert redacted_body(body) == body


def test_a_name_may_be_written_in_any_way_that_is_json() -> None:
    assert json.loads(redacted_body(b'{"client\\u005fsecret": "c4n4ry"}')) == {"client_secret": REDACTED}


def test_what_is_shown_is_otherwise_the_same() -> None:
    value = {"a": [1, 1.5, True, None, "x"], "client_secret": SECRET, "empty": {"token": ""}}

    assert redacted(value) == {**value, "client_secret": REDACTED}
    assert json.loads(redacted_body(json.dumps(value, indent=2).encode())) == {**value, "client_secret": REDACTED}


def test_nothing_that_a_stranger_writes_takes_long_to_read() -> None:
    """Each of these is read once from its beginning to its end; a second look at each place would take hours."""
    for part in (
        "eyJ-",
        "-----BEGIN PRIVATE" + " KEY-----",
        "token:",
        "://a",
        "pi_a",
        '"token":"',
        "?a_",
        "a_",
        "\\",
        "input_value=",
        ")=(",
        "Failing row contains (",
    ):
        long = (part * (1_000_000 // len(part))).encode()
        assert len(redacted_body(long)) > 0
        assert len(redact(long.decode())) > 0
    assert redacted_body(b"[" * 900 + b"]" * 900) == b"[" * 900 + b"]" * 900


PROGRAM: Final = """
import json, logging, structlog, sys
from payments_shared.logs import configure_logging

canaries = json.loads(sys.argv[1])
configure_logging("checkout")
log, other = structlog.get_logger("a"), logging.getLogger("b")
for canary in canaries:
    log.warning("a.happened", text=canary, deep={"list": [canary]}, error=ValueError(canary))
    other.warning("said %s", canary)
    other.warning(canary)
    try:
        raise RuntimeError(canary)
    except RuntimeError:
        log.exception("a.failed")
        other.exception("failed")
log.info("a.told", password="c4n4ry", Token="c4n4ry", authorization="c4n4ry", payload={"c4n4ry": 1}, cookie="c4n4ry")
"""


def test_no_line_of_a_service_shows_one_whoever_writes_it() -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), json.dumps(list(CANARIES.values()))]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(lines) == 5 * len(CANARIES) + 1
    assert done.stderr == ""
    told = json.dumps([{key: value for key, value in line.items() if key != "timestamp"} for line in lines])
    assert not any(part in told for part in ("c4n4ry", "4242", "3704"))
    assert {lines[-1][key] for key in ("password", "Token", "authorization", "payload", "cookie")} == {REDACTED}
