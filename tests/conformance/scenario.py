"""The table of what every client must do, and the reading of it: a scripted server on one side, a client on the other.

A scenario is a list of steps; the first key of a step that is a method here says what it is. `each` makes one case of
every combination: `$name` in a step stands for its value, and a step with `when` belongs only to the cases that have
that value. A step with `after` waits for so many ms first.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.scripted_server import ME, Peer, ScriptedServer, message

TABLE: Final = Path(__file__).with_name("client.json")
TIMEOUT_S: Final = 20.0
CUT: Final = 1006
OPTIONS: Final[dict[str, Any]] = {"uid": "u1", "rooms": ["r"], "reconnectFirstMs": 10, "reconnectCapMs": 20}

Step = dict[str, Any]


class Subject(Protocol):
    """A client under test. Answers and events are as the JavaScript client gives them."""

    def enter(self, url: str, options: dict[str, Any]) -> Awaitable[Any]:
        """Begin to connect and to join the first rooms."""

    def ask(self, what: str, **how: Any) -> Awaitable[Any]:
        """Begin to send, join, leave, watch, end or ask for a history; the answer is awaited later. Raises Fault."""

    async def event(self) -> dict[str, Any]:
        """Return the next event."""

    async def sleep(self, ms: float) -> None:
        """Move the client's wall clock, and no other clock, as a device that slept finds it."""


class Fault(Exception):
    """What the client fails with: the protocol's code, "timeout", or a close code."""

    def __init__(self, code: str | int) -> None:
        super().__init__(str(code))
        self.code = code


@dataclass(frozen=True)
class Case:
    """A scenario with chosen values."""

    name: str
    steps: list[Step]


def cases() -> Iterator[Case]:
    """Read the table."""
    for scenario in json.loads(TABLE.read_text()):
        each: dict[str, list[Any]] = scenario.get("each", {})
        for values in itertools.product(*each.values()):
            chosen = dict(zip((f"${name}" for name in each), values, strict=True))
            steps = [
                _filled(step, chosen) for step in scenario["steps"] if step.get("when", values) in (values, *values)
            ]
            yield Case(" - ".join([scenario["name"], *map(str, values)]), steps)


def _filled(part: Any, chosen: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        return {name: _filled(value, chosen) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(one, chosen) for one in part]
    return chosen.get(part, part) if isinstance(part, str) else part


each_case = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])


class Run:
    """One case with one client."""

    def __init__(self, server: ScriptedServer, subject: Subject) -> None:
        self._server = server
        self._subject = subject
        self._peers: list[Peer] = []
        self._heard: dict[str, Any] = {}  # the payload that was expected last
        self._asked: dict[str, asyncio.Future[Any]] = {}
        self._limits: dict[str, Any] | None = None  # told in each hello; None: an older server's
        self._refused_at = 0.0

    async def play(self, case: Case) -> None:
        """Do all steps."""
        for i, step in enumerate(case.steps):
            verb = next(name for name in step if name not in {"when", "after"})
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await asyncio.sleep(step.get("after", 0) / 1000)
                    await getattr(self, f"_{verb.replace(' ', '_')}")(step[verb], step)
            except Exception as e:
                e.add_note(f"in step {i}, {step}")
                raise

    @property
    def _peer(self) -> Peer:
        return self._peers[-1]

    # -- what the server does ----------------------------------------------------------------------------------------

    async def _accept(self, how: str, _step: Step) -> None:
        self._peers.append(await self._server.accept(greet=how == "greet", limits=self._limits))

    async def _expect(self, kind: str, step: Step) -> None:
        self._heard = await self._peer.expect(kind)
        assert time.monotonic() >= self._refused_at + step.get("notBefore", 0) / 1000, "sent before the pause ended"
        wanted = step.get("payload", {})
        assert {name: self._heard.get(name) for name in wanted} == wanted
        assert not [name for name in step.get("lacks", []) if name in self._heard]

    async def _joined(self, how: dict[str, Any], _step: Step) -> None:
        room = self._heard.get("roomId", "r")
        messages = [message(seq) for seq in how.get("messages", [])]
        seq, epoch, recovered = how.get("seq", 0), how.get("epoch", 1), how.get("recovered", True)
        await self._peer.joined(room, seq, epoch, *messages, recovered=recovered, tail=how.get("tail"))

    async def _deliver(self, seqs: list[int], step: Step) -> None:
        await self._peer.deliver(*seqs, epoch=step.get("epoch", 1), room=step.get("room", "r"))

    async def _ack(self, seq: int, _step: Step) -> None:
        await self._peer.ack(self._heard, seq)

    async def _refuse(self, code: str, step: Step) -> None:
        self._refused_at = time.monotonic()
        told = {"retryAfterMs": step["retryAfterMs"]} if "retryAfterMs" in step else {}
        await self._peer.refuse(self._heard | step.get("about", {}), code, **told)

    async def _page(self, seqs: list[int], step: Step) -> None:
        await self._peer.history(self._heard["roomId"], *seqs, more=step.get("more", False))

    async def _left(self, room: str, _step: Step) -> None:
        await self._peer.say("left", roomId=room)

    async def _presence(self, ids: list[str], _step: Step) -> None:
        users = [{"id": one, "username": one} for one in ids]
        await self._peer.say("presence", roomId="r", onlineCount=len(ids), users=users)

    async def _text(self, text: str, _step: Step) -> None:
        await self._peer.text(text)

    async def _close(self, code: int, _step: Step) -> None:
        """Close; 1006 is what a client sees of a connection that is cut."""
        if code == CUT:
            self._peer.cut()
        else:
            await self._peer.close(code)

    async def _refuse_handshakes(self, status: int | None, _step: Step) -> None:
        """Answer each handshake with this HTTP status from now on; null accepts them again."""
        self._server.refusal = status

    async def _freeze(self, _true: bool, _step: Step) -> None:
        """Hear nothing any more: neither the client's frames nor its pings."""
        self._peer.connection.transport.pause_reading()

    async def _quiet(self, _true: bool, _step: Step) -> None:
        await self._peer.quiet()

    async def _connections(self, count: int, _step: Step) -> None:
        assert self._server.total == count

    async def _same_query(self, wanted: dict[str, str], _step: Step) -> None:
        first, *others = (parse_qs(urlsplit(peer.path).query, keep_blank_values=True) for peer in self._peers)
        assert others == [first]
        assert {name: first[name] for name in wanted} == {name: [value] for name, value in wanted.items()}
        assert first["uid"][0].startswith("guest-")

    # -- what the client does ----------------------------------------------------------------------------------------

    async def _enter(self, how: dict[str, Any], _step: Step) -> None:
        """Connect, and be in the first rooms unless a later step says how it goes on."""
        options = OPTIONS | how.get("options", {})
        self._limits = how.get("limits")
        entering = self._asked["enter"] = asyncio.ensure_future(self._subject.enter(self._server.url, options))
        if how.get("greet", True):
            await self._accept("greet", {})
            for _ in options["rooms"]:
                await self._peer.let_in(how.get("seq", 0))
            await entering

    async def _send(self, content: str, step: Step) -> None:
        self._ask(step, "send", room="r", content=content, ref=step.get("ref"))

    async def _send_many(self, count: int, step: Step) -> None:
        """Begin to send m1, m2 and so on, without waiting for an ack."""
        for i in range(1, count + 1):
            self._ask(step | {"as": f"{step['as']}{i}"}, "send", room="r", content=f"m{i}", ref=None)

    async def _device_sleeps(self, ms: int, _step: Step) -> None:
        """Let the wall clock go on while no other clock does; a negative time is a wall clock that is set back."""
        await self._subject.sleep(ms)

    async def _join(self, room: str, step: Step) -> None:
        self._ask(step, "join", room=room, since=step.get("since"))

    async def _leave(self, room: str, step: Step) -> None:
        self._ask(step, "leave", room=room)

    async def _history(self, room: str, step: Step) -> None:
        self._ask(step, "history", room=room, before=step.get("before"), limit=step.get("limit"))

    async def _watch(self, room: str, _step: Step) -> None:
        await self._subject.ask("watch", room=room)

    async def _end(self, _true: bool, _step: Step) -> None:
        await self._subject.ask("end")

    def _ask(self, step: Step, what: str, **how: Any) -> None:
        self._asked[step["as"]] = asyncio.ensure_future(self._subject.ask(what, **how))

    async def _answer(self, name: str, step: Step) -> None:
        if "fails" in step:
            with pytest.raises(Fault) as failed:
                await self._asked[name]
            assert failed.value.code == step["fails"]
            return
        answer = await self._asked[name]
        if "messages" in (answer or {}):
            answer |= {"messages": [_in_short(one) for one in answer["messages"]]}
        wanted = step.get("is", {})
        assert {key: answer[key] for key in wanted} == wanted

    async def _events(self, wanted: list[dict[str, Any]], _step: Step) -> None:
        seen = [_in_short(await self._subject.event()) for _ in wanted]
        assert seen == wanted


def _in_short(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event as the table has it."""
    match event["type"]:
        case "message":
            if event["seq"]:
                assert (event["content"], event["user"]) == (f"m{event['seq']}", ME)
            kind, value = "recent" if event["recent"] else "message", event["seq"]
        case "hole":
            assert (event["room"], event["why"]) == ("r", "lost")
            kind, value = "hole", event["after"]
        case "presence":
            assert event["online"] == len(event["users"])
            kind, value = "presence", [user["id"] for user in event["users"]]
        case "system":
            kind, value = "system", event["text"]
        case "connected":
            kind, value = "connected", event["user"]["id"]
        case "reconnecting" | "closed" as kind:
            value = event["code"]
        case kind:
            value = event["room"]
    return {kind: value}
