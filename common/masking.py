"""Masking: what is secret in a URL is never shown, in no log line, error, report or repr.

A URL may hold a secret before its `@` and in every parameter of its query. `mask` covers every URL in a text.
"""

import re
from typing import Final

from pydantic import Secret

MASKED: Final = "***"
# Up to the last @ of the word: a password that was not percent-encoded may hold one itself.
_CREDENTIALS: Final = re.compile(r"(?<=://)\S*(?=@)")
_PARAMETER: Final = re.compile(r"(?<=[?&])([^=?&#\s]+)=[^&#\s]*")


def mask(text: str) -> str:
    """Return the text with all URLs as they may be shown."""
    return _PARAMETER.sub(rf"\1={MASKED}", _CREDENTIALS.sub(MASKED, text))


class SecretUrl(Secret[str]):
    """A URL that may hold a password. Everything but `get_secret_value` shows it without."""

    def _display(self) -> str:
        return mask(self.get_secret_value())
