"""Waiting for what will come: a condition is asked again and again until a deadline, never slept for."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

TIMEOUT_S = 15.0
PAUSE_S = 0.01


async def eventually(
    true: Callable[[], object | Awaitable[object]], what: str = "", timeout_s: float = TIMEOUT_S
) -> None:
    """Ask until it is true. Raises AssertionError telling what was waited for."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await _asked(true):
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what or inspect.getsource(true).strip()}") from None


async def until_set(event: asyncio.Event, what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait for an event. Raises AssertionError telling what was waited for."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what}") from None


async def _asked(true: Callable[[], object | Awaitable[object]]) -> object:
    answer = true()
    return await answer if inspect.isawaitable(answer) else answer
