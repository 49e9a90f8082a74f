"""docs/client-guide.md is true: its session, replayed line by line, and all that it lists."""

import json
import re
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from prometheus_client import REGISTRY

from comet import frames
from comet.config import CometSettings
from common.errors import ChatError
from tests.support.comet_node import Client, CometNode
from tests.support.documented import DOCS
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

TEXT: Final = (DOCS / "client-guide.md").read_text()
VARYING: Final = {
    "id": r"\d+-\d+",
    "epoch": r"[1-9]\d{5,}",
    "timestamp": r"\d+",
    "node": r"\w+",
    "firstMessageId": r".+",
}
SAME_AS: Final = {"firstMessageId": "id"}


class Replay:
    """The session so far: who is connected, and what stands in the real one for each id, time and epoch of the page."""

    def __init__(self, node: CometNode, clients: AsyncExitStack) -> None:
        self._node = node
        self._clients = clients
        self._connected: dict[str, Client] = {}
        self._real: dict[tuple[str, Any], Any] = {}
        self._awaited: dict[str, list[Any]] = {}
        self._read: dict[str, int] = {}

    async def line(self, line: str) -> None:
        """Do what a line says; what comes is compared before the next thing is done."""
        who, what, rest = re.fullmatch(r"(\w+) (->|<-|connects to|is cut off) ?(.*)", line).groups()  # type: ignore[union-attr]
        if what == "<-":
            self._awaited.setdefault(who, []).append(json.loads(rest))
            return
        await self.settle()
        if what == "->":
            await self._connected[who].connection.send(json.dumps(self._translated(json.loads(rest))))
        elif what == "connects to":
            query = dict(part.split("=") for part in rest.removeprefix("?").split("&"))
            self._connected[who] = await self._clients.enter_async_context(self._node.client(**query))
            self._read[who] = 0
        else:
            before = REGISTRY.get_sample_value("comet_connections") or 0
            self._connected[who].connection.transport.abort()
            await eventually(lambda: (REGISTRY.get_sample_value("comet_connections") or 0) < before)

    async def settle(self) -> None:
        """Read what is awaited; frames that follow one request come in either order."""
        for who, awaited in self._awaited.items():
            came = [await self._next(who) for _ in awaited]
            for expected, frame in zip(sorted(awaited, key=_type), sorted(came, key=_type), strict=True):
                self._compare(expected, frame)
        self._awaited.clear()

    async def _next(self, who: str) -> Any:
        client = self._connected[who]
        while True:
            at = self._read[who]
            await client.until(lambda: len(client.texts) > at)  # noqa: B023 - awaited within the round
            self._read[who] += 1
            if client.texts[at] not in client.texts[:at] or '"presence"' not in client.texts[at]:
                return json.loads(client.texts[at])  # who watches is told once more of what they asked for

    def _compare(self, expected: Any, came: Any, key: str = "") -> None:
        if isinstance(expected, dict):
            assert list(expected) == list(came), came
            for name, value in expected.items():
                self._compare(value, came[name], name)
        elif isinstance(expected, list):
            assert len(expected) == len(came), came
            for one, other in zip(expected, came, strict=True):
                self._compare(one, other)
        elif _varies(key, expected):
            assert _varies(key, came), (key, came)
            assert self._real.setdefault((key, expected), came) == came
        else:
            assert expected == came, key

    def _translated(self, shown: Any, key: str = "") -> Any:
        if isinstance(shown, dict):
            return {name: self._translated(value, name) for name, value in shown.items()}
        return self._real[SAME_AS.get(key, key), shown] if _varies(key, shown) else shown


def _varies(key: str, value: object) -> bool:
    return key in VARYING and re.fullmatch(VARYING[key], str(value)) is not None


def _type(frame: dict[str, Any]) -> str:
    return str(frame["type"])


async def test_the_session_is_what_happens(node: CometNode) -> None:
    """Frame by frame, field by field, in the fields' order."""
    lines = [
        line
        for block in re.findall(r"^```session\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) > 30
    async with AsyncExitStack() as clients:
        replay = Replay(node, clients)
        for line in lines:
            await replay.line(line)
        await replay.settle()


async def test_every_type_and_error_is_listed() -> None:
    """And none that does not exist; tests/unit/comet/test_close_codes.py holds the close codes."""
    sent, received, errors = (_listed(title) for title in SECTIONS)
    assert sent == frames.TYPES
    assert received == {"hello", "joined", "left", "serverMessages", "ack", "roomHistory", "presence", "pong", "error"}
    assert errors == {one.code for one in _subclasses(ChatError)}


SECTIONS: Final = ("What a client sends", "What the server sends", "Errors")


def _listed(title: str) -> set[str]:
    section = TEXT.split(f"## {title}\n")[1].split("\n## ")[0]
    first = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return {cell.strip("`") for cell in first[1:]}


def _subclasses(of: type[ChatError]) -> set[type[ChatError]]:
    return {found for one in of.__subclasses__() for found in {one, *_subclasses(one)}}


async def test_every_setting_has_the_default_that_is_told() -> None:
    """So the page's limits are those of a Comet as it comes."""
    told = re.findall(r"`COMET_([A-Z_]+)` \((\d+)\)", TEXT)
    told += re.findall(r"`COMET_([A-Z_]+)`, (\d+)\b", TEXT)
    assert len(told) > 10
    assert [name for name, value in told if CometSettings.model_fields[name.lower()].default != int(value)] == []
    named = set(re.findall(r"`COMET_([A-Z_]+)`", TEXT))
    assert {name.lower() for name in named} <= set(CometSettings.model_fields)
