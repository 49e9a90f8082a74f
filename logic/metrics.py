"""Logic's metrics. No label has more values than are written here or in the table of routes."""

from prometheus_client import Counter, Gauge, Histogram

from common.metrics import Counts, Histograms

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 10)

SOURCES = ("comet", "backend")
RESULTS = ("success", "rejected", "failed", "skipped")

_SENDS = Counts("logic_sends_total", "Sends by where they come from and what became of them", ["source", "result"])
SENDS = {(source, result): _SENDS.labels(source, result) for source in SOURCES for result in RESULTS}
PUSHES = Counter("logic_pushes_total", "Pushes and broadcasts that Kafka acknowledged", ["kind"])

PRODUCE_SECONDS = Histograms(
    "logic_produce_seconds", "From a partition's queue to Kafka's acknowledgement", bounds=_SECONDS
).labels()
PRODUCE_WAITING_BYTES = Gauge("logic_produce_waiting_bytes", "Bytes that wait for Kafka")
PRODUCERS_REPLACED = Counter("logic_producers_replaced_total", "Kafka producers that could not go on")
KAFKA_UP = Gauge("logic_kafka_up", "Whether Kafka can be written to")
REDIS_UP = Gauge("logic_redis_up", "Whether Redis answers")
REDIS_MEMORY = Gauge("logic_redis_memory_bytes", "Memory that Redis takes")
REDIS_MEMORY_LIMIT = Gauge("logic_redis_memory_limit_bytes", "Redis's maxmemory, past which it refuses; 0: none")
REDIS_WEAK = Gauge("logic_redis_weak_settings", "Settings of Redis weaker than promised; /readyz names them")

IN_FLIGHT = Gauge("logic_requests_in_flight", "HTTP requests in work")
REQUESTS = Counter("logic_requests_total", "HTTP requests answered, by operation and status", ["operation", "status"])
REQUEST_SECONDS = Histogram("logic_request_seconds", "HTTP requests by operation", ["operation"], buckets=_SECONDS)
REFUSED = Counter("logic_overloaded_total", "Requests refused because a bound was reached")
