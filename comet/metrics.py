"""Comet's metrics. No label has more values than are written here."""

from prometheus_client import Counter, Gauge, Histogram

from comet.close_codes import CloseCode
from common import errors
from common.metrics import GRPC_CALLS, Counts, Histograms

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30)

FORWARD_OK = GRPC_CALLS.labels("comet", "logic_forward", "success")
FORWARD_FAILED = GRPC_CALLS.labels("comet", "logic_forward", "failed")
FORWARD_SECONDS = Histogram("comet_forward_seconds", "One POST to Logic", buckets=_SECONDS)
FORWARD_DEAD = Counter("comet_forward_dead_letters_total", "Outbox entries that Logic refused for good")
OUTBOX_LENGTH = Gauge("comet_outbox_length", "Entries accepted and not yet in Kafka, over all shards")
OUTBOX_AGE_SECONDS = Gauge("comet_outbox_oldest_age_seconds", "Age of the oldest entry in the outbox")
LEASES = Gauge("comet_outbox_leases", "Shards whose outbox this node forwards")

CONNECTIONS = Gauge("comet_connections", "Open WebSocket connections")
ROOMS = Gauge("comet_rooms", "Rooms with a session on this node")
CONNECTED = Counter("comet_connected_total", "WebSocket connections opened")
_REFUSED = Counter(
    "comet_connections_refused_total", "Connections refused, by the node's limit that was reached", ["limit"]
)
REFUSED_CONNECTIONS = _REFUSED.labels("connections")
REFUSED_MEMORY = _REFUSED.labels("memory")
REFUSED_SOCKETS = _REFUSED.labels("sockets")
CLOSED = Counter("comet_closed_total", "WebSocket connections closed, by the code sent or received", ["code"])
for _code in CloseCode:
    CLOSED.labels(str(_code))  # present at 0 from the start: a rate does not see a series' first step
_REFUSED_REQUESTS = Counter(
    "comet_requests_refused_total", "Requests that are no HTTP or no valid opening handshake, by status", ["status"]
)
REFUSED_REQUESTS = {status: _REFUSED_REQUESTS.labels(str(status)) for status in (400, 414, 426, 431, 505)}
REFUSED_REQUESTS_OTHER = _REFUSED_REQUESTS.labels("other")
FRAMES_IN = Counts("comet_frames_received_total", "Frames from clients").labels()
ERRORS = Counter("comet_errors_total", "error frames sent, by their code", ["code"])
for _fault in (
    errors.BadRequest,
    errors.UnknownType,
    errors.TooLarge,
    errors.Forbidden,
    errors.RateLimited,
    errors.Overloaded,
    errors.Unavailable,
    errors.Internal,
):
    ERRORS.labels(_fault.code)  # present at 0 from the start

_DELIVERIES = Counts(
    "comet_deliveries_total", "Messages that reached this node, by path and what became of them", ["path", "result"]
)
DELIVERIES = {
    (path, result): _DELIVERIES.labels(path, result)
    for path in ("pubsub", "push")
    for result in ("delivered", "duplicate", "held")
}
REPAIRED = Counter("comet_repaired_messages_total", "Messages read from the stream because neither path brought them")
TOLD_HOLES = Counter("comet_told_holes_total", "Holes that could not be filled, so that the room's sessions were told")
HELD_DROPPED = Counter(
    "comet_held_dropped_total", "Messages above a hole not held for want of room; the stream has them"
)
REFUSED_PUSHES = Counter(
    "comet_refused_pushes_total",
    "Pushed rooms whose position lay above the log, or whose body was unreadable or may not be pushed",
)
REPEATED_PUSHES = Counter("comet_repeated_pushes_total", "Pushes without a position that were there before")
DELIVERY_SECONDS = Histograms(
    "comet_delivery_seconds", "From append to this node's hub, by path", ["path"], bounds=_SECONDS
)
DELIVERY_PUBSUB = DELIVERY_SECONDS.labels("pubsub")
DELIVERY_PUSH = DELIVERY_SECONDS.labels("push")
SENT = Counts("comet_messages_sent_total", "Messages written to sessions (one for each session that gets it)").labels()
SLOW_CONSUMERS = Counter("comet_slow_consumers_total", "Sessions cut off past their outbound byte limit")
FOREIGN_PUBLISHES = Counter("comet_foreign_publishes_total", "What came over a room's channel and is no message")
PUBSUB_LOST = Counter("comet_pubsub_lost_total", "PubSub connections lost")
