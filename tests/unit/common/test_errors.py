"""The words that are told of an error are never none."""

import pytest

from common.errors import Unavailable, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("Redis is away"), "Redis is away"),
        (TimeoutError(), "no answer in time"),
        (ConnectionResetError(), "ConnectionResetError"),
        (ExceptionGroup("all", [ValueError("one"), ExceptionGroup("two", [TimeoutError()])]), "one; no answer in time"),
    ],
)
def test_an_error_without_a_text_is_told_by_its_kind(error: Exception, reason: str) -> None:
    """A group by all that is in it."""
    assert reason_of(error) == reason
