"""Job's metrics. No label has more values than are written here, but `partition`, of which the topic has few."""

from prometheus_client import Counter, Gauge, Histogram

from common.metrics import GRPC_CALLS, Counts, Histograms

RESULTS = ("offline", "pushed", "refused", "abandoned", "dead_letter")
CALLS = ("broadcast_room", "push_msg", "broadcast")

_RECORDS = Counts("job_records_total", "Records finished, by the worst that became of them", ["result"])
RECORDS = [_RECORDS.labels(result) for result in RESULTS]  # by a result's number, see job/record.py
LAG = Gauge(
    "job_kafka_lag",
    "Records of a partition that Kafka has and Job has not finished; one Job shows each partition, assigned or not",
    ["partition"],
)
UNREAD = Gauge("job_kafka_partitions_unread", "Partitions of the topic that no consumer has, as far as Kafka says")
COMMITS = Counter("job_commits_total", "Commits of offsets, by outcome", ["result"])
COMMITTED, NOT_COMMITTED = COMMITS.labels("success"), COMMITS.labels("failed")
FULL = Counter(
    "job_full_total", "Times that a partition had no room for more in flight, so that it was not fetched from"
)
UNFINISHED = Counter("job_unfinished_total", "Records in flight when their partition was let go of; they come again")

CALL_OK = {name: GRPC_CALLS.labels("job", name, "success") for name in CALLS}
CALL_FAILED = {name: GRPC_CALLS.labels("job", name, "failed") for name in CALLS}
_PUSH_SECONDS = Histogram(
    "job_push_seconds",
    "One gRPC call to a node, whatever its outcome",
    ["name"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)
PUSH_SECONDS = {name: _PUSH_SECONDS.labels(name) for name in CALLS}
DELIVERY_SECONDS = Histograms(
    "job_delivery_seconds",
    "From a record's timestamp in Kafka until every node that it was for has it",
    bounds=(0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 5, 30, 300),
).labels()
MERGED = Histogram(
    "job_messages_per_call", "Records in one BroadcastRoom call", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
WAITING = Gauge("job_pushes_waiting", "Pushes that wait for a node, over all nodes")
NODES = Gauge("job_nodes", "Comet nodes that live")
SUSPECTED = Gauge("job_nodes_suspected", "Comet nodes that used up a deadline and have not answered since")
