"""common/raw_push.py: which bodies may be pushed as they are."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from common import raw_push
from common.errors import BadRequest
from tests import conformance

TABLES: Final = Path(conformance.__path__[0])
HOSTILE: Final = json.loads((TABLES / "hostile.json").read_text())
FORGED: Final = json.loads((TABLES / "forged.json").read_text())
GUIDE: Final = Path(__file__).parents[3] / "docs" / "client-guide.md"
DEEP: Final = "[" * 100_000 + "]" * 100_000


def refused(body: str) -> str:
    """Return why a body may not be pushed, or ''."""
    try:
        raw_push.check_text(body)
    except BadRequest as fault:
        return f"{fault.field}: {fault.message}"
    return ""


@pytest.mark.parametrize("row", FORGED, ids=[row["name"] for row in FORGED])
def test_a_forged_frame_is_refused_with_its_type(row: dict[str, str]) -> None:
    """And the error says which bodies may be pushed."""
    assert refused(row["text"]).startswith(f"body: body must not be a frame of type {row['type']}")
    assert refused(row["text"]).endswith("a JSON object with a type of your own, or serverMessages without epoch")


@pytest.mark.parametrize("row", HOSTILE, ids=[row["name"] for row in HOSTILE])
def test_of_the_hostile_texts_those_are_refused_that_claim_to_be_comets(row: dict[str, Any]) -> None:
    """Whether their payload is valid or not."""
    assert bool(refused(row["text"].replace("<deep>", DEEP))) == row["refused"]


@pytest.mark.parametrize(
    "body",
    ["", "test message", "{", "{}", "[]", '{"a":1}', '{"type":1}', '{"type":"joined"', '["type","joined"]', '"type"',
     '{"type":"notice","payload":{"epoch":1}}', 'see {"type":"joined"}', '{"text":{"type":"joined"}}',
     '{"type":"clientMessages"}', '{"type":"serverMessages","payload":{"epoch":null}}',
     '{"type":"serverMessages","payload":{"roomId":"r","messages":[{"content":"x","seq":5}]}}',
     '{"type":"serverMessages","payload":1}'],
)  # fmt: skip
def test_any_other_text_may_be_pushed(body: str) -> None:
    """Clients show it, or ignore it."""
    assert not refused(body)


def test_an_object_is_checked_like_its_text() -> None:
    """Logic takes both."""
    raw_push.check_frame({"type": "notice", "payload": {"epoch": 1}})
    with pytest.raises(BadRequest, match="of type joined"):
        raw_push.check_frame({"type": "joined"})


def test_json_too_deep_to_be_checked_is_refused() -> None:
    """A client may read deeper than this check does. The error names the limit."""
    assert "at most 1024 levels" in refused(f'{{"type":"notice","payload":{DEEP}}}')


def test_the_types_are_those_that_the_client_guide_names() -> None:
    """A new frame of Comet's cannot be pushed either."""
    table = GUIDE.read_text().partition("## What the server sends")[2].partition("\n## ")[0]
    named = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert named == raw_push.COMET_TYPES | {"serverMessages"}
