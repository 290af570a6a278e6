"""The event loop of this process, in which the coroutines of its task functions run, each with its task's context.

A pool runs a task in a thread (or a greenlet), which waits here for the coroutine. Celery finds the running task by the
thread; in the event loop it finds it by the context of the coroutine, and of everything that the coroutine starts.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import inspect
import logging
import os
import queue
import threading
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from celery._state import _task_stack
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.utils.threads import get_ident

from gql_api.worker.errors import TaskCancelledError

logger = logging.getLogger(__name__)

# The exceptions by which a function says what follows.
_CONTROL_FLOW = (TaskCancelledError, Ignore, Reject, Retry)
# How long a thread that is about to end waits for its cancelled coroutine.
_CLEANUP_SECONDS = 5.0


def run(awaitable: Awaitable[Any]) -> Any:
    """Run a coroutine of the task of this thread in the event loop, and wait for its result.

    An exception that interrupts the wait cancels the coroutine. After a soft time limit the coroutine may still return
    a result, like a function that catches the exception.
    """
    if not is_in_loop():
        return _Call(awaitable, _process_loop()).wait()
    # A coroutine runs another task in place (``apply``), and its loop waits meanwhile.
    apart = _Loop()
    try:
        return _Call(awaitable, apart).wait()
    finally:
        apart.stop()


def is_in_loop() -> bool:
    """Return whether the caller is a coroutine of a task function, whose thread must not wait for another one."""
    return isinstance(threading.current_thread(), _Loop)


class _Loop(threading.Thread):
    """A thread with an event loop."""

    def __init__(self) -> None:
        super().__init__(name="asyncio", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._stopping = False
        self.start()

    def run(self) -> None:
        """Run the loop until it is stopped here. A coroutine cannot stop it for the others."""
        while not self._stopping:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # By a task that a coroutine started; asyncio raises those of all tasks here.
                logger.exception("The event loop goes on")
        self.loop.close()

    def stop(self) -> None:
        """Stop the loop."""
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: Any = None
    error: BaseException | None = None


class _Call:
    """A coroutine that runs in the event loop while the thread of its task waits."""

    def __init__(self, awaitable: Awaitable[Any], thread: _Loop) -> None:
        self._awaitable = awaitable
        self._loop = thread.loop
        self._context = _context_of_task()
        self._task: asyncio.Task[_Outcome] | None = None
        self._outcome: _Outcome | None = None
        # Not a condition, whose lock would stay locked if a signal interrupted one of its methods.
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait(self) -> Any:
        """Run the coroutine, and return its result."""
        limit: BaseException | None = None
        try:
            self._loop.call_soon_threadsafe(self._start)
            self._ended.get()
        except SoftTimeLimitExceeded as reached:
            limit = reached
            self._cancel()
            while self._outcome is None:
                self._ended.get()
        except BaseException:
            self._cancel()
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=_CLEANUP_SECONDS)
            raise
        outcome = self._outcome
        if outcome is None:
            raise AssertionError("the outcome is there before the end is announced")
        error = outcome.error
        if error is None:
            return outcome.result
        if isinstance(error, asyncio.CancelledError):
            # It is not an Exception, which is what Celery can store of a task.
            raise limit or concurrent.futures.CancelledError(*error.args) from error
        # Without the frame of this class.
        raise error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)

    def _start(self) -> asyncio.Task[_Outcome]:
        if self._task is None:
            self._task = self._loop.create_task(self._run(), context=self._context)
            self._task.add_done_callback(self._end)
        return self._task

    def _cancel(self) -> None:
        # If the wait was interrupted before the start, the task ends before its first step.
        self._loop.call_soon_threadsafe(lambda: self._start().cancel())

    async def _run(self) -> _Outcome:
        try:
            return _Outcome(await self._awaitable)
        except BaseExceptionGroup as group:
            return _Outcome(error=_control_flow_of(group) or group)
        except BaseException as error:  # noqa: BLE001 - the thread of the task raises it
            return _Outcome(error=error)

    def _end(self, task: asyncio.Task[_Outcome]) -> None:
        self._context.run(_leave)
        if task.cancelled():
            # Before its first step.
            self._outcome = _Outcome(error=asyncio.CancelledError())
            if inspect.iscoroutine(self._awaitable):
                self._awaitable.close()
        else:
            self._outcome = task.result()
        self._ended.put(None)


def _control_flow_of(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the exception by which a task group said what follows, if it has no other error."""
    matching, rest = group.split(_CONTROL_FLOW)
    if matching is None or rest is not None:
        return None
    first: BaseException = matching
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


# Celery keeps the running tasks and their requests in stacks, by thread: for a coroutine this object stands for it.
_thread_of_task: contextvars.ContextVar[object | None] = contextvars.ContextVar("thread_of_task", default=None)
_stacks_of_task: contextvars.ContextVar[tuple[Any, ...]] = contextvars.ContextVar("stacks_of_task", default=())


def _ident() -> object:
    return _thread_of_task.get() or get_ident()


def _context_of_task() -> contextvars.Context:
    """Return a copy of the context of this thread, in which Celery finds the tasks that run in this thread."""
    stacks = (_task_stack, *{id(task): task.request_stack for task in _task_stack.stack}.values())
    entries = [(stack, list(stack.stack)) for stack in stacks]
    context = contextvars.copy_context()
    context.run(_enter, entries)
    return context


def _enter(entries: list[tuple[Any, list[Any]]]) -> None:
    _thread_of_task.set(object())
    _stacks_of_task.set(tuple(stack for stack, _ in entries))
    for stack, items in entries:
        stack.__ident_func__ = _ident
        for item in items:
            stack.push(item)


def _leave() -> None:
    """Forget the task: a coroutine that it leaves behind does not report in its name."""
    for stack in _stacks_of_task.get():
        stack.__release_local__()


_current: _Loop | None = None
_lock = threading.Lock()


def _process_loop() -> _Loop:
    global _current  # noqa: PLW0603 - a process has one loop
    with _lock:
        _current = _current or _Loop()
        return _current


def _forget() -> None:
    """Forget the loop of the parent process, whose thread a new process does not have."""
    global _current, _lock
    _current, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
