"""What may be shown of a URL."""

import pytest

from common.errors import reason_of
from common.masking import SecretUrl, mask


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:pw@h:1/0", "redis://***@h:1/0"),
        ("redis://me:p@ss/w#rd@h:1/0", "redis://***@h:1/0"),
        ("rediss://h/0?db=1&password=pw&x=1", "rediss://h/0?db=***&password=***&x=***"),
        ("http://h:1/?api_key=pw&b=#c failed", "http://h:1/?api_key=***&b=***#c failed"),
        ("GET /?token=pw", "GET /?token=***"),
        ("no URL: a@b", "no URL: a@b"),
        ("http://a:b@h and redis://c:d@i failed", "http://***@h and redis://***@i failed"),
    ],
)
def test_passwords_in_urls_are_masked(text: str, shown: str) -> None:
    """Each URL of a text, however its password is written."""
    assert mask(text) == shown
    assert str(SecretUrl(text)) == shown
    assert reason_of(ValueError(text)) == shown
    assert shown in repr(SecretUrl(text))
