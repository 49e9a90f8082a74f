"""The examples of the documentation, for tests that run them."""

import re
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[2] / "docs"
DOCUMENTED_HOST: Final = "localhost:8082"


def example(document: str, language: str, host: str) -> str:
    """Return a document's only block of code in a language, made to talk to another host."""
    [code] = re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / document).read_text(), re.MULTILINE | re.DOTALL)
    assert DOCUMENTED_HOST in code
    return str(code).replace(DOCUMENTED_HOST, host)
