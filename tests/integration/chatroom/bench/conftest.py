"""Small runs of the bench."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the parts that load the whole pipeline to `make test-kafka`: they measure with Apache Kafka, and take long."""
    pipeline = collection_path.name == "test_pipeline_parts.py"
    return True if pipeline and config.getoption("--kafka") != "apache" else None
