"""Frames of the Python client: encoded and parsed alike with orjson and with the standard library."""

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatroom_client import frames as with_orjson


def _without_orjson() -> ModuleType:
    """Load a second copy of the module, as it is where orjson is not installed."""
    spec = importlib.util.find_spec(with_orjson.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, {"orjson": None}):
        spec.loader.exec_module(module)
    return module


without_orjson = _without_orjson()
BOTH = pytest.mark.parametrize("frames", [with_orjson, without_orjson], ids=["orjson", "json"])

INTEGERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
PAYLOADS = st.dictionaries(st.text(), VALUES, max_size=4)


def outcome(encode: Callable[[str, dict[str, Any]], str], payload: dict[str, Any]) -> str | None:
    """Return the text of a frame, or None if the payload is refused."""
    try:
        return encode("a", payload)
    except TypeError:
        return None


def test_each_copy_uses_its_own_codec() -> None:
    """Otherwise the other tests would compare a module with itself."""
    assert hasattr(with_orjson, "orjson")
    assert not hasattr(without_orjson, "orjson")


@BOTH
def test_only_objects_with_a_type_and_a_payload_are_frames(frames: ModuleType) -> None:
    """Each other text is shown as it is."""
    assert frames.parse('{"type":"pong","payload":{"a":1}}') == ("pong", {"a": 1})
    for text in ("hi", "", "[]", "{", '{"type":1,"payload":{}}', '{"type":"a","payload":[]}', '{"type":"a"}'):
        assert frames.parse(text) is None


@BOTH
@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", r'"\ud800"', r'"\uDEAD"', r'{"\ud800":1}', '"\n"', "01", "[" * 5000 + "]" * 5000]
)
def test_text_that_is_not_strict_json_is_no_frame(frames: ModuleType, value: str) -> None:
    """Constants of JavaScript, half of a surrogate pair, a bare line end, and a depth that no frame has."""
    assert frames.parse(f'{{"type":"a","payload":{{"a":{value}}}}}') is None


@BOTH
def test_a_surrogate_pair_is_one_character(frames: ModuleType) -> None:
    """Servers may escape what is outside of Unicode's first plane."""
    assert frames.parse(r'{"type":"a","payload":{"a":"\ud83d\ude00"}}') == ("a", {"a": "\N{GRINNING FACE}"})


@BOTH
def test_text_that_no_utf8_holds_is_refused(frames: ModuleType) -> None:
    """The caller of `send` gets the error; the connection would fail on the frame."""
    with pytest.raises(TypeError, match=r"(?i)utf-8|unicode"):
        frames.encode("a", {"content": "\ud800"})


@given(PAYLOADS | st.dictionaries(st.text(), st.text(st.characters(exclude_categories=()))))
def test_both_encode_the_same_text(payload: dict[str, Any]) -> None:
    """Whatever the payload holds, and both refuse the same payloads: those with halves of surrogate pairs."""
    assert outcome(with_orjson.encode, payload) == outcome(without_orjson.encode, payload)


@given(PAYLOADS)
def test_both_parse_each_others_frames(payload: dict[str, Any]) -> None:
    """The payload comes back as it was."""
    text = with_orjson.encode("a", payload)
    assert with_orjson.parse(text) == without_orjson.parse(text) == ("a", payload)


VALID = {"roomId": "r", "epoch": 1, "seq": 1, "recovered": True, "messages": []}


@BOTH
@pytest.mark.parametrize(
    "wrong",
    [
        {"tail": 5},
        {"tail": {"epoch": 1}},
        {"tail": {"epoch": 1, "seq": -1}},
        {"tail": {"epoch": "1", "seq": 1}},
        {"epoch": True},
        {"seq": 2**53},
        {"onlineCount": 0.5},
        {"recovered": 1},
    ],
)
def test_joined_with_a_field_of_another_type_is_no_frame(frames: ModuleType, wrong: dict[str, Any]) -> None:
    """A tail may be missing: an older server names none."""
    for tail in ({}, {"tail": None}, {"tail": {"epoch": 1, "seq": 1}}):
        assert frames.parse(frames.encode("joined", VALID | tail)) == ("joined", VALID | tail)
    assert frames.parse(frames.encode("joined", VALID | wrong)) is None
