"""`chatroom up`: the whole stack on one machine, from the first check to the last process's end.

Promises: everything that can be checked is checked before anything starts; whatever ends it, nothing that it started is
left behind; a fault is one line with what to change. Neighbours: `stack.py` brings up, `supervisor.py` keeps up.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from functools import partial
from typing import NoReturn

from chatroom.config import Options, wants_colour
from chatroom.up import embedded, folder, plan, prometheus
from chatroom.up.guard import Guard
from chatroom.up.output import UP, Console
from chatroom.up.ports import Claims
from chatroom.up.stack import LocalStack
from chatroom.up.supervisor import Supervisor
from common.errors import StartupError
from common.lifecycle import StopRequest, exit_at_once, leaves, raise_file_limit


class Stopped(Exception):
    """The user asked `chatroom up` to stop. The text is the reason."""


def run(options: Options) -> int:
    """Run the stack until it is stopped; return the exit code. A fault is told on standard error."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it would report what we report ourselves
    raise_file_limit()  # for what it starts, too
    code = 0
    try:
        asyncio.run(_run(options))
    except* Stopped:
        pass
    except* StartupError as group:
        for fault in leaves(group):
            sys.stderr.write("".join(f"chatroom up: {line}\n" for line in str(fault).splitlines()))
            code = max(code, fault.exit_code)
    return code


async def _run(options: Options) -> None:
    stop = StopRequest()
    _listen_for_signals(stop)
    gone = partial(_stop_from_thread, asyncio.get_running_loop(), stop, "nobody reads the output")
    with contextlib.closing(Console(sys.stdout.fileno(), colour=wants_colour(), on_gone=gone)) as console:
        console.open()
        services = await _ask_services(options, stop)
        plan.check_ports(services)
        console.expect(
            [*(service.name for service in services), "kafka", "redis", *(["prometheus"] if options.prometheus else [])]
        )
        await _hold(plan.plan(options, services), console, stop)


def _stop_from_thread(loop: asyncio.AbstractEventLoop, stop: StopRequest, reason: str) -> None:
    with contextlib.suppress(RuntimeError):  # the loop may be closed already
        loop.call_soon_threadsafe(stop.make, reason)


def _listen_for_signals(stop: StopRequest) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signum is not signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN:  # ignored under nohup
            asyncio.get_running_loop().add_signal_handler(signum, stop.on_signal, signum)


def _kill(guard: Guard) -> None:
    """Kill everything in the guard's group, then end this program."""
    with contextlib.suppress(RuntimeError, ProcessLookupError):  # the group may be gone already
        guard.kill_all()
    exit_at_once()


async def _stopped(stop: StopRequest) -> NoReturn:
    """Wait for the request to stop, then raise Stopped."""
    raise Stopped(await stop.wait())


async def _ask_services(options: Options, stop: StopRequest) -> list[plan.ServicePlan]:
    with Guard() as guard:
        stop.on_second_signal = partial(_kill, guard)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(_stopped(stop))
            services = await plan.ask_services(options, guard.group)
            waiting.cancel()
    return services


async def _hold(chosen: plan.Plan, console: Console, stop: StopRequest) -> None:
    """Hold what the stack needs (the folder, the guard, ports) while it runs."""
    _check_programs(chosen)
    taken = [service.port(name) for service in chosen.services for name in service.ports]
    with contextlib.ExitStack() as held:
        lock = [held.enter_context(folder.taken(chosen.options.directory))] if chosen.keeps_files else []
        guard = held.enter_context(Guard(lock))
        stop.on_second_signal = partial(_kill, guard)
        claims = held.enter_context(Claims(taken))
        async with asyncio.TaskGroup() as tasks:
            supervisor = Supervisor(guard, console, tasks)
            try:
                await _serve(LocalStack(chosen, claims, supervisor, console), supervisor, stop)
            except* Stopped as group:
                console.line(UP, f"{group.exceptions[0]}: stopping everything")
            finally:
                await supervisor.stop()


def _check_programs(chosen: plan.Plan) -> None:
    """Raise StartupError if a server to start is missing."""
    if chosen.own_redis:
        embedded.redis_program()
    if chosen.own_kafka:
        embedded.kafka_program()
    if chosen.options.prometheus:
        prometheus.program()


async def _serve(stack: LocalStack, supervisor: Supervisor, stop: StopRequest) -> None:
    """Bring up, then stay. Raises Stopped when somebody asks to stop, StartupError when it can't be kept up."""
    async with asyncio.TaskGroup() as tasks:
        for work in (stack.bring_up(), supervisor.given_up(), _stopped(stop)):
            tasks.create_task(work)
