"""Logging: structlog, pretty on a terminal and JSON elsewhere; what libraries log through `logging` looks the same.

Events that come once a message are cut to ten lines a second each; how many were cut stands in the next line as
`suppressed`. An event is its text before its arguments are put in, so `log.info("sent to %s", room)` is one event.
"""

import logging
import sys
import time
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LINES_PER_SECOND = 10
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class EventLimiter:
    """Drops an event past ten lines in its current second, and counts what it dropped."""

    def __init__(self, lines_per_second: int = LINES_PER_SECOND) -> None:
        self._limit = lines_per_second
        self._windows: dict[str, list[float]] = {}  # event -> [start of its second, lines in it, suppressed so far]

    def __call__(self, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        """Let the event pass, or raise DropEvent."""
        now = time.monotonic()
        window = self._windows.setdefault(event_dict["event"], [now, 0, 0])
        if now - window[0] >= 1.0:
            window[0], window[1] = now, 0
        if window[1] >= self._limit:
            window[2] += 1
            raise structlog.DropEvent
        window[1] += 1
        if window[2]:
            event_dict["suppressed"] = int(window[2])
            window[2] = 0
        return event_dict


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
            EventLimiter(),
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )

    def add_service(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        return {"service": service, **event_dict}

    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, add_service, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(_LEVELS[level])
    # Libraries speak at info of every connection; their warnings are enough unless someone debugs.
    for noisy in ("aiokafka", "kafka", "websockets", "aiohttp.access", "grpc"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, _LEVELS[level]) if level != "debug" else logging.INFO)


def get(**context: Any) -> structlog.typing.FilteringBoundLogger:  # noqa: ANN401 - a log field may be anything
    """Return a logger whose lines carry the context."""
    return structlog.get_logger(**context)  # type: ignore[no-any-return]  # structlog types this as Any
