"""Integration tests of job/: a real Redis, a real Kafka, and a real gRPC server in Comet's place."""
