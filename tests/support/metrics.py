"""Reading a service's metrics as Prometheus would."""

import asyncio
import urllib.request

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


def families_at(url: str) -> list[Metric]:
    """Return all that a service measures."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the test's own http URL
        return list(text_string_to_metric_families(answer.read().decode()))


def sample(url: str, metric: str, /, **labels: str) -> float:
    """Return one sample; raise AssertionError if it is not there."""
    found = [
        one.value
        for family in families_at(url)
        for one in family.samples
        if one.name == metric and labels.items() <= one.labels.items()
    ]
    assert found, f"no {metric} {labels} at {url}"
    return sum(found)


async def asample(url: str, metric: str, /, **labels: str) -> float:
    """Return one sample without holding up the loop."""
    return await asyncio.to_thread(sample, url, metric, **labels)


async def until_sample(url: str, metric: str, least: float, /, *, timeout_s: float = 20.0, **labels: str) -> float:
    """Wait until a sample reaches a value, and return it."""
    value = -1.0
    try:
        async with asyncio.timeout(timeout_s):
            while (value := await asample(url, metric, **labels)) < least:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{metric} {labels} is {value} after {timeout_s} s, not {least}") from None
    return value
