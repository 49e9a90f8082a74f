"""Logging: structlog, pretty on a terminal and JSON elsewhere; what libraries log through `logging` looks the same.

Events that come once a message are cut to ten lines a second each; how many were cut stands in the next line as
`suppressed`. An event is its text before its arguments are put in, so `log.info("sent to %s", room)` is one event.
Libraries get one line a second for each of theirs. Nothing in a line acts on the terminal that shows it.
"""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from common.characters import escaped

LINES_PER_SECOND = 10
MOST_EVENTS = 10_000
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class EventLimiter:
    """Says when an event is past ten lines in its current second, and counts what was cut."""

    def __init__(self, lines_per_second: int = LINES_PER_SECOND) -> None:
        self._limit = lines_per_second
        self._windows: dict[str, list[float]] = {}  # event -> [start of its second, lines in it, suppressed so far]

    def admit(self, event: str) -> int | None:
        """Return how many lines of the event were cut since its last one; None if this one is cut as well."""
        now = time.monotonic()
        window = self._windows.get(event)
        if window is None:
            if len(self._windows) >= MOST_EVENTS:  # somebody's texts are not events; they must not fill the memory
                self._windows.clear()
            window = self._windows[event] = [now, 0, 0]
        elif now - window[0] >= 1.0:
            window[0], window[1] = now, 0
        if window[1] >= self._limit:
            window[2] += 1
            return None
        window[1] += 1
        suppressed, window[2] = int(window[2]), 0
        return suppressed


class _LibraryLimiter(logging.Filter):
    """Cuts what libraries log: a client that lost its server says so many times a second, and once is enough."""

    def __init__(self) -> None:
        super().__init__()
        self._limiter = EventLimiter(1)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let our own events pass (they come as dicts), and one line a second of each other."""
        return not isinstance(record.msg, str) or self._limiter.admit(record.msg) is not None


def _logger_class(level: int, limiter: EventLimiter) -> type[Any]:
    """Make structlog's filtering logger ask the limiter first, so that a line that is cut costs next to nothing.

    Its own methods put the arguments into the text at once, and every text would be an event of its own.
    """
    base = structlog.make_filtering_bound_logger(level)

    def method(name: str) -> Callable[..., None]:
        def log(self: structlog.BoundLoggerBase, event: str, *args: object, **fields: Any) -> None:  # noqa: ANN401 - a log field may be anything
            suppressed = limiter.admit(event)
            if suppressed is None:
                return
            if suppressed:
                fields["suppressed"] = suppressed
            if args:
                fields["positional_args"] = args
            self._proxy_to_logger(name, event, **fields)

        return log

    return type("Logger", (base,), {name: method(name) for name, number in _LEVELS.items() if number >= level})


def _escape(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Escape what acts on a terminal: clients name rooms and users, and write what an error quotes."""
    return {name: _escaped(name, value) if isinstance(value, str) else value for name, value in event_dict.items()}


def _escaped(name: str, value: str) -> str:
    """Keep the lines of a traceback or a stack; anything else is one line."""
    return "\n".join(map(escaped, value.split("\n"))) if name in {"exception", "stack"} else escaped(value)


def configure(service: str, level: str, form: str) -> None:
    """Set up logging for the whole process: `level` debug, info, warning or error; `form` auto, pretty or json."""
    pretty = form == "pretty" or (form == "auto" and sys.stdout.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=_logger_class(_LEVELS[level], EventLimiter()),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    as_text: list[Processor] = [_escape, structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    as_json: list[Processor] = [structlog.processors.JSONRenderer()]
    renderer: list[Processor] = [structlog.processors.format_exc_info, *(as_text if pretty else as_json)]

    def put_in_order(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        head = {name: event_dict.pop(name) for name in ("timestamp", "level", "event") if name in event_dict}
        return {**head, "service": service, **event_dict}

    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, put_in_order, *renderer],
        )
    )
    output.addFilter(_LibraryLimiter())
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(_LEVELS[level])
    # Libraries speak at info of every connection; their warnings are enough unless someone debugs.
    for noisy in ("aiokafka", "kafka", "websockets", "aiohttp.access", "grpc"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, _LEVELS[level]) if level != "debug" else logging.INFO)


class _Logger:
    """A logger made before logging is configured; from then on it keeps its methods.

    structlog's own looks for them at every call, for 3 us, and lines that are cut come once a message.
    """

    def __init__(self, context: dict[str, Any]) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever structlog's logger has
        found = getattr(structlog.get_logger(**self._context).bind(), name)
        if structlog.is_configured():
            setattr(self, name, found)
        return found


def get(**context: Any) -> structlog.typing.FilteringBoundLogger:  # noqa: ANN401 - a log field may be anything
    """Return a logger whose lines carry the context."""
    return cast("structlog.typing.FilteringBoundLogger", _Logger(context))
