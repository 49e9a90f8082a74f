"""Connections to Redis that are made from a setting."""

import pytest

from common import redis_client
from common.errors import SettingError


@pytest.mark.parametrize("parameter", ["bogus=1", "db=x", "socket_timeout=x", "retry=1", "protocol=9", "hush=hush"])
def test_a_bad_parameter_of_the_url_is_a_bad_setting(parameter: str) -> None:
    """Only redis-py knows its parameters, and its own errors would be a traceback."""
    with pytest.raises(SettingError) as failed:
        redis_client.connect(f"redis://:hush@localhost:1/0?{parameter}")
    assert str(failed.value).startswith("bad setting redis_url (CHAT_REDIS_URL): ")
    assert "hush" not in str(failed.value)


async def test_a_parameter_that_redis_py_knows_is_taken() -> None:
    """Without a connection."""
    await redis_client.connect("redis://:hush@localhost:1/0?client_name=me").aclose()
