"""The table of close codes is the only one, and the client guide shows it."""

import ast
import re
from pathlib import Path

import websockets.frames

from comet import close_codes, metrics
from comet.close_codes import CloseCode
from tests.support.documented import DOCS

PRIVATE = 4000  # RFC 6455, 7.4.2: codes from here on are an application's own
REASON_BYTES = 123  # RFC 6455, 5.5: a control frame holds 125 bytes, 2 of them the code


def documented() -> dict[int, bool]:
    """Return the guide's close codes, and whether it tells a client to come back."""
    section = (DOCS / "client-guide.md").read_text().split("## When the connection ends\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \| .+ \| (yes|no)\b[^|]* \|$", section, re.MULTILINE)
    return {int(code): answer == "yes" for codes, answer in rows for code in codes.split(", ")}


def test_the_guide_shows_the_table() -> None:
    """Each code that a client may get, and whether it reconnects; a client knows that it closed by itself."""
    assert documented() == {code: code.reconnects for code in CloseCode if code is not CloseCode.NORMAL_CLOSURE}


def test_standard_codes_have_their_standard_names() -> None:
    """As the library has them from IANA's registry."""
    standard = {code.name: int(code) for code in CloseCode if code < PRIVATE}
    assert standard.items() <= {code.name: int(code) for code in websockets.frames.CloseCode}.items()


def test_reasons_fit_into_a_close_frame() -> None:
    """The library refuses a longer one."""
    assert [code for code in CloseCode if len(code.reason.encode()) > REASON_BYTES] == []


def test_each_code_is_counted_from_the_start() -> None:
    """A rate does not see a series' first step."""
    counted = {sample.labels["code"] for family in metrics.CLOSED.collect() for sample in family.samples}
    assert {str(int(code)) for code in CloseCode} <= counted


def test_no_other_module_has_a_close_code() -> None:
    """As a number; 1000 is also the size of many a batch."""
    numbers = set(CloseCode) - {CloseCode.NORMAL_CLOSURE}
    table = Path(close_codes.__file__)
    found = [
        f"{path.name}:{node.lineno}"
        for path in table.parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in numbers and path != table
    ]
    assert found == []
