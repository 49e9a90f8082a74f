"""The clients that are held to the table: ours for Python in this process, ours for JavaScript in a Node of its own.

tests/browser/test_conformance.py holds the latter to it in Chromium.
"""

import asyncio
import dataclasses
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

import chatroom_client
from chatroom_client import ages
from tests.conformance.scenario import Fault
from tests.support.node import NODE

SUBJECT: Final = Path(__file__).with_name("node.js")
_SECONDS: Final = {"pingMs", "reconnectFirstMs", "reconnectCapMs", "ackTimeoutMs"}


class PythonSubject:
    """clients/python."""

    def __init__(self) -> None:
        self.chat: chatroom_client.ChatClient | None = None
        self._events: Any = None
        self.asleep_s = 0.0  # the time that this device has slept

    def enter(self, url: str, options: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """Make it, and enter its context."""
        self.chat = chatroom_client.ChatClient(url, **dict(_option(*one) for one in options.items()))
        self._events = aiter(self.chat)
        return self._answered(self.chat.__aenter__())

    async def ask(self, what: str, **how: Any) -> Any:
        """Call the method of that name."""
        chat = self.chat
        assert chat is not None
        match what:
            case "send":
                return await self._answered(chat.send(how["room"], how["content"], how["ref"]))
            case "join":
                since = chatroom_client.Position(**how["since"]) if how["since"] else None
                return await self._answered(chat.join(how["room"], since))
            case "history":
                page = await self._answered(chat.history(how["room"], how["before"], how["limit"]))
                messages = [{"type": "message", **one} for one in page["messages"]]
                return {"messages": messages, "hasMore": page["more"]}
            case "leave":
                return await self._answered(chat.leave(how["room"]))
            case "watch":
                return await self._answered(chat.watch(how["room"]))
            case _:
                return await self._answered(chat.close())

    async def event(self) -> dict[str, Any]:
        """Read the next one; the end of the events is one, too."""
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            return {"type": "closed", "code": 1000}
        except chatroom_client.Disconnected as e:
            return {"type": "closed", "code": e.code}
        return {"type": type(event).__name__.lower(), **dataclasses.asdict(event)}

    async def sleep(self, ms: float) -> None:
        """Move the wall clock of the client."""
        self.asleep_s += ms / 1000

    async def _answered(self, asking: Any) -> Any:
        try:
            answer = await asking
        except (chatroom_client.ChatError, chatroom_client.Disconnected) as e:
            raise Fault(e.code) from e
        except chatroom_client.OutcomeUnknown as e:
            raise Fault(e.code) from e
        except TimeoutError as e:
            raise Fault("timeout") from e
        return dataclasses.asdict(answer) if dataclasses.is_dataclass(answer) else None  # type: ignore[arg-type]  # an instance


def _option(name: str, value: Any) -> tuple[str, Any]:
    """Return an option as the Python client has it: seconds, and words joined by underscores."""
    if name in _SECONDS:
        name, value = name.removesuffix("Ms") + "S", value / 1000
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name), value


class JavaScript:
    """Where many clients run, one after the other, told what to do in lines of JSON (subject.js)."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._ids = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._events: dict[int, asyncio.Queue[dict[str, Any]]] = {}  # by client

    def take(self, line: str | bytes) -> None:
        """Take what it says."""
        said = json.loads(line)
        if "event" in said:
            self._events[said["client"]].put_nowait(said["event"])
            return
        answer = self._answers.pop(said["id"])
        if answer.done():  # its test has failed, and waits no more
            return
        if "fault" in said:
            answer.set_exception(Fault(said["fault"]))
        else:
            answer.set_result(said["answer"])

    def ask(self, client: int, what: str, how: dict[str, Any]) -> asyncio.Future[Any]:
        """Call a client's method; JavaScript takes what is missing for undefined."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        chosen = {name: value for name, value in how.items() if value is not None}
        self._tell(json.dumps({"id": number, "client": client, "what": what, **chosen}))
        return answer

    @asynccontextmanager
    async def client(self) -> AsyncIterator["JavaScriptSubject"]:
        """Have a client while inside."""
        number = next(self._ids)
        events = self._events[number] = asyncio.Queue()
        subject = JavaScriptSubject(self, number, events)
        try:
            yield subject
        finally:
            await subject.ask("end")


class JavaScriptSubject:
    """clients/javascript/index.js."""

    def __init__(self, where: JavaScript, number: int, events: asyncio.Queue[dict[str, Any]]) -> None:
        self._where = where
        self._number = number
        self._events = events

    def enter(self, url: str, options: dict[str, Any]) -> asyncio.Future[Any]:
        """Make it and connect."""
        return self.ask("enter", url=url, options=options)

    def ask(self, what: str, **how: Any) -> asyncio.Future[Any]:
        """Call the method of that name."""
        return self._where.ask(self._number, what, how)

    async def sleep(self, ms: float) -> None:
        """Move the wall clock of the Node."""
        await self.ask("sleep", ms=ms)

    async def event(self) -> dict[str, Any]:
        """Return the next one."""
        return await self._events.get()


@asynccontextmanager
async def python() -> AsyncIterator[PythonSubject]:
    """Have the Python client while inside."""
    subject = PythonSubject()
    clock = SimpleNamespace(time=lambda: time.time() + subject.asleep_s, monotonic=time.monotonic)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ages, "time", clock)
            yield subject
    finally:
        if subject.chat is not None:
            await subject.chat.close()


@asynccontextmanager
async def node() -> AsyncIterator[JavaScript]:
    """Run a Node while inside."""
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(NODE, SUBJECT, stdin=pipe, stdout=pipe)
    to, come = running.stdin, running.stdout
    assert to is not None
    assert come is not None
    it = JavaScript(lambda line: to.write(f"{line}\n".encode()))
    reading = asyncio.create_task(_read(come, it))
    try:
        yield it
    finally:
        to.close()  # it ends by itself
        await running.wait()
        await reading


async def _read(come: asyncio.StreamReader, it: JavaScript) -> None:
    async for line in come:
        it.take(line)
