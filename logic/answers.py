"""Answers: how results and faults become HTTP, for logic/api.py. No traceback ever reaches a client."""

import time

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ValidationError

from common import health, http_faults, logs
from common.characters import escaped
from common.errors import BadRequest, ChatError, Internal, Overloaded, TooLarge
from logic import replies
from logic.metrics import IN_FLIGHT, REFUSED, REQUEST_SECONDS, REQUESTS

RETRY_AFTER_S = 1
JSON = "application/json"

log = logs.get()


def ok(reply: BaseModel) -> web.Response:
    """Answer 200."""
    return raw(reply.model_dump_json(by_alias=True).encode())


def raw(body: bytes) -> web.Response:
    """Answer 200 with JSON that is ready."""
    return web.Response(body=body, content_type=JSON)


def refusal(fault: ChatError, ref: str = "") -> web.Response:
    """Answer with the fault's status; `ref`: what a retry should carry."""
    if isinstance(fault, Overloaded):
        REFUSED.inc()
    headers = {"Retry-After": str(RETRY_AFTER_S)} if fault.retriable else {}
    return _error(fault.http_status, fault.code, fault.message, fault.field, ref if fault.retriable else "", headers)


def _error(  # noqa: PLR0913, PLR0917 - the fields of replies.Error
    status: int, code: str, message: str, field: str = "", ref: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    body = replies.Error(code=code, message=message, field=field, ref=ref).model_dump()
    return web.Response(body=orjson.dumps(body), status=status, content_type=JSON, headers=headers)


def fault_of(error: ValidationError) -> BadRequest:
    """Make pydantic's first fault ours: the field's path as messages[0].content, and the limit."""
    fault = error.errors(include_url=False, include_input=False)[0]
    if fault["type"] == "json_invalid":
        return BadRequest(f"the body is not JSON: {fault['ctx']['error']}")
    field = _path(fault["loc"]) or str(fault.get("ctx", {}).get("field", ""))
    told = fault["type"] in {"plain", "position"} and field in fault["msg"]  # in words of ours that name it
    return BadRequest(fault["msg"] if told else f"{field or 'the body'}: {fault['msg']}", field=field)


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def guard(max_requests: int) -> Middleware:
    """Return the middleware around all routes: it bounds requests in work, counts them and turns faults into JSON.

    Past `max_requests` the newest is refused with Overloaded; health and metrics are not: a busy Logic is alive.
    """
    in_flight = 0

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:  # aiohttp gives it by that name
        nonlocal in_flight
        if request.path in health.PATHS:
            return await _answered(request, handler)
        began = time.monotonic()
        in_flight += 1
        IN_FLIGHT.set(in_flight)
        try:
            if in_flight > max_requests:
                answer: web.StreamResponse = refusal(Overloaded("too many requests at once; try again later"))
            else:
                answer = await _answered(request, handler)
        finally:
            in_flight -= 1
            IN_FLIGHT.set(in_flight)
        operation = request.match_info.route.name or "other"
        REQUESTS.labels(operation, str(answer.status)).inc()
        REQUEST_SECONDS.labels(operation).observe(time.monotonic() - began)
        return answer

    return guarded


async def _answered(request: web.Request, operation: Handler) -> web.StreamResponse:
    try:
        return await operation(request)
    except ChatError as e:
        return refusal(e)
    except ValidationError as e:
        return refusal(fault_of(e))
    except web.RequestPayloadError:  # whose text quotes the body
        return refusal(BadRequest(http_faults.BODY_REASON))
    except web.HTTPException as e:
        return _http_fault(request, e)
    except Exception:
        log.exception("A request failed", method=request.method, path=request.path)
        return refusal(Internal("Logic failed to carry the request out"))


def _http_fault(request: web.Request, fault: web.HTTPException) -> web.Response:
    """Say in our words what aiohttp refused."""
    path = escaped(request.path)
    match fault:
        case web.HTTPRequestEntityTooLarge():
            return refusal(TooLarge(f"the body is larger than {request.client_max_size} bytes"))
        case web.HTTPNotFound():
            return _error(404, "not_found", f"there is no {request.method} {path}")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(fault.allowed_methods))
            message = f"{path} takes {allowed}, not {request.method}"
            return _error(405, "method_not_allowed", message, headers={"Allow": allowed})
        case _:
            return _error(fault.status, "internal" if fault.status >= 500 else "bad_request", fault.reason)  # noqa: PLR2004 - HTTP
