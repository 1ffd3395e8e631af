"""What one parser takes and another refuses is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_shared.strict_json import INTEGER_MAX, MalformedJson, strict_json_loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=32)), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(VALUES, st.booleans())
def test_whatever_every_parser_reads_alike_is_read(value: object, escaped: bool) -> None:
    assert strict_json_loads(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(VALUES, st.sampled_from([(None, (",", ":")), (None, (", ", ": ")), (2, (",", ": "))]))
def test_however_it_is_laid_out_each_value_keeps_its_type(
    value: object, layout: tuple[int | None, tuple[str, str]]
) -> None:
    raw = json.dumps(value, ensure_ascii=False, indent=layout[0], separators=layout[1]).encode()
    assert repr(strict_json_loads(raw)) == repr(json.loads(raw))


@given(st.integers(-(2**70), 2**70), st.sampled_from(["%d", '{"a":%d}', '{\n  "a": %d\n}', "[%d]", "%d.0", "%de1"]))
def test_no_layout_lets_a_number_through_that_parsers_round(number: int, layout: str) -> None:
    text = layout % number
    if abs(number) > INTEGER_MAX and not text.endswith((".0", "e1")):
        with pytest.raises(MalformedJson):
            strict_json_loads(text.encode())
    else:
        assert repr(strict_json_loads(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":1}', '{\n  "a": 1,\n  "a": 1\n}', '{"a":{"b":1,"b":2}}', '[{"a":1,"a":1}]']
)
def test_a_key_that_stands_twice_is_refused_in_every_layout(text: str) -> None:
    with pytest.raises(MalformedJson, match="twice"):
        strict_json_loads(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}', '{"b":[{"a":1,"a":2}]}', '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":1e400}',
        '{"a":-1e400}', f'{{"a":{2**53 + 1}}}', f'{{"a":{-(2**53) - 1}}}', '{"a":' + "9" * 5000 + "}", '"\\u0000"',
        '{"\\u0000":1}', '"\\ud800"', '["\\udfff"]', "\ufeff{}", "{} {}", "{}x", "", "[" * 100_000 + "]" * 100_000,
        "'a'", '{"a":01}', '"\x01"', '"\x00"',
    ],
)  # fmt: skip
def test_what_parsers_disagree_on_is_refused(text: str) -> None:
    with pytest.raises(MalformedJson):
        strict_json_loads(text.encode())


@pytest.mark.parametrize("raw", [b"\xff\xfe{}", b'"\xed\xa0\x80"', b'"\xc0\x80"', '{"a":1}'.encode("utf-16")])
def test_bytes_that_are_not_utf8_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson):
        strict_json_loads(raw)


@pytest.mark.parametrize("value", [2**53, -(2**53), 0, 9_007_199_254_740_991])
def test_integers_that_every_parser_keeps_are_kept(value: int) -> None:
    assert strict_json_loads(str(value).encode()) == value
