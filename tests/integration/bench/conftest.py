"""Small runs of the bench."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave what loads the whole pipeline to `make test-kafka`: it measures with Apache Kafka, and takes long."""
    pipeline = collection_path.name == "test_pipeline_benchmarks.py"
    return True if pipeline and config.getoption("--kafka") != "apache" else None
