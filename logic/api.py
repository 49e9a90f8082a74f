"""Hop 6 of 9: the HTTP interface, parsing and limits; from Comet's forwarder (or a backend), to logic/service.py.

Each operation of the table of routes is a method here. The body is parsed once, by pydantic, straight from its bytes.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from common import ids, logs
from common.errors import BadRequest, ChatError
from common.store import Appended
from logic import answers, docs_page, models, openapi, push_messages, replies
from logic.config import LogicSettings
from logic.lookups import Lookups
from logic.routes import KEY_HEADER, ROUTES
from logic.service import Service

MAX_CURSOR = 2**64 - 1  # Redis's cursors are unsigned

log = logs.get()


class Api:
    """Logic's operations, as HTTP."""

    def __init__(self, service: Service, lookups: Lookups, settings: LogicSettings, version: str) -> None:
        self._service = service
        self._lookups = lookups
        self._settings = settings
        self._document = orjson.dumps(openapi.document(version))
        self._refs = ids.Refs()

    def add_to(self, app: web.Application) -> None:
        """Add all routes."""
        for route in ROUTES:
            if not route.elsewhere:
                path = route.path.replace("{roomId}", "{roomId:[^/]+}")  # aiohttp's own pattern takes no braces
                add = app.router.add_get if route.method == "GET" else app.router.add_post  # a GET takes HEAD, too
                add(path, getattr(self, route.operation), name=route.operation)
        app.router.add_get("/docs/{name}", self._docs_asset, name="docs_asset")

    # -- sends -------------------------------------------------------------------------------------------------------

    async def send(self, request: web.Request) -> web.Response:
        """POST /logic/send."""
        send = models.Send.model_validate_json(await request.read())
        ref = _given_ref(send.ref, request) or self._refs.new()
        log.info("Received POST /logic/send", room=send.room_id, messages=len(send.messages))
        try:
            appended = await self._service.send(send, ref)
        except ChatError as e:
            log.warning("handleSend failed", room=send.room_id, code=e.code, reason=e.message)
            return answers.refusal(e, "" if send.from_comet else ref)
        log.info("handleSend successfully", room=send.room_id, id=appended.ids[0], seq=appended.first_seq)
        return answers.ok(_sent(send.room_id, appended))

    async def send_batch(self, request: web.Request) -> web.Response:
        """POST /logic/send/batch."""
        sends = parse_batch(await request.read())
        context = _context(sends)
        log.info("Received POST /logic/send/batch", **context)
        try:
            results = await self._service.send_batch(sends)
        except ChatError as e:
            log.warning("handleSend failed", code=e.code, reason=e.message, **context)
            raise
        bad = [one for one in results if one.status != "success"]
        if bad:
            log.warning("handleSend failed", failed=len(bad), reason=bad[0].reason, **context)
        else:
            log.info("handleSend successfully", **context)
        return answers.raw(orjson.dumps({"status": "partial" if bad else "success", "results": results}))

    # -- pushes ------------------------------------------------------------------------------------------------------

    async def push(self, request: web.Request) -> web.Response:
        """POST /logic/push."""
        push = models.Push.model_validate_json(await request.read())
        given = _given_ref(push.ref, request)
        ref = given or self._refs.new()
        try:
            push_id = await self._service.push(push, ref, given=given is not None)
        except ChatError as e:
            return answers.refusal(e, ref)
        return answers.ok(replies.Pushed(id=push_id))

    async def broadcast(self, request: web.Request) -> web.Response:
        """POST /logic/broadcast."""
        broadcast = models.Broadcast.model_validate_json(await request.read())
        given = _given_ref(broadcast.ref, request)
        ref = given or self._refs.new()
        try:
            push_id = await self._service.broadcast(broadcast, ref, given=given is not None)
        except ChatError as e:
            return answers.refusal(e, ref)
        return answers.ok(replies.Pushed(id=push_id))

    # -- questions ---------------------------------------------------------------------------------------------------

    async def rooms(self, request: web.Request) -> web.Response:
        """GET /logic/rooms."""
        cursor = _number(request, "cursor", 0, 0, MAX_CURSOR)
        limit = _number(request, "limit", self._settings.rooms_page, 1, self._settings.rooms_page)
        return answers.ok(await self._lookups.rooms(cursor, limit))

    async def messages(self, request: web.Request) -> web.Response:
        """GET /logic/rooms/{roomId}/messages."""
        most = self._settings.history_messages
        before = request.query.get("before")
        return answers.raw(
            await self._lookups.history(
                _room(request),
                None if before is None else ids.message_id(before, "before"),
                _number(request, "limit", min(50, most), 1, most),
            )
        )

    async def room_online(self, request: web.Request) -> web.Response:
        """GET /logic/rooms/{roomId}/online."""
        return answers.ok(await self._lookups.room_online(_room(request)))

    async def online(self, _request: web.Request) -> web.Response:
        """GET /logic/online."""
        return answers.ok(await self._lookups.online())

    # -- the document ------------------------------------------------------------------------------------------------

    async def openapi(self, _request: web.Request) -> web.Response:
        """GET /openapi.json."""
        return answers.raw(self._document)

    async def docs(self, _request: web.Request) -> web.Response:
        """GET /docs."""
        headers = {"Content-Security-Policy": docs_page.POLICY}
        return web.Response(text=docs_page.PAGE, content_type="text/html", headers=headers)

    async def _docs_asset(self, request: web.Request) -> web.Response:
        found = docs_page.asset(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found[0], content_type=found[1])


def parse_batch(body: bytes) -> list[models.Send | BadRequest]:
    """Read a batch: each send, or what is wrong with it. Raises ValidationError or BadRequest if the frame is wrong."""
    try:
        return list(models.Batch.model_validate_json(body).sends)
    except ValidationError as e:
        if any(fault["loc"][:1] != ("sends",) or len(fault["loc"]) == 1 for fault in e.errors(include_url=False)):
            raise
    return [_parse_send(one) for one in orjson.loads(body)["sends"]]


def _parse_send(one: object) -> models.Send | BadRequest:
    try:
        return models.Send.model_validate(one)
    except ValidationError as e:
        return answers.fault_of(e)


def _sent(room: str, appended: Appended) -> replies.Sent:
    messages = [
        replies.Stored(id=one, seq=seq, timestamp=push_messages.timestamp_of(one))
        for seq, one in enumerate(appended.ids, appended.first_seq)
    ]
    return replies.Sent(room_id=room, epoch=appended.epoch, messages=messages)


def _context(sends: Sequence[models.Send | BadRequest]) -> dict[str, Any]:
    """What a log line about a batch carries."""
    if len(sends) == 1 and isinstance(send := sends[0], models.Send):
        return {"room": send.room_id, "id": send.messages[0].id, "seq": send.messages[0].seq}
    return {"sends": len(sends)}


def _given_ref(body_ref: str | None, request: web.Request) -> str | None:
    """Return the body's ref, or else the header's. Without either one is made, and told in case of a fault."""
    if body_ref is not None:
        return body_ref
    header = request.headers.get(KEY_HEADER)
    return None if header is None else ids.ref(header, KEY_HEADER)


def _room(request: web.Request) -> str:
    """Return the room of the path. What is stored under an id that is illegal now stays readable."""
    return ids.stored_room_id(request.match_info["roomId"])


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise BadRequest(f"{name} must be a number from {least} to {most}", field=name)
    return int(text)
