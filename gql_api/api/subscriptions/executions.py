"""Run subscriptions: the subscribers of one operation share its execution and receive the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import graphql
from strawberry import Schema
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from gql_api.access.principal import Principal
from gql_api.aio.background import cancelled
from gql_api.api.errors import ApiError, OverloadedError, QuotaExceededError
from gql_api.api.execution.documents import DEFAULT_READER, DocumentReader, reader_of
from gql_api.api.execution.encoding import encode, encode_result
from gql_api.api.execution.masking import internal_error
from gql_api.api.execution.operation import Operation, RefusedOperationError
from gql_api.api.execution.subscribe import publish_results
from gql_api.api.quotas.subscriptions import NO_SUBSCRIPTION_QUOTAS, SubscriptionQuotas
from gql_api.api.store.slots import stay_one_requester
from gql_api.api.subscriptions.fanout import Fanout
from gql_api.api.subscriptions.send_buffer import Ending, Policy, SendBuffer, WaitingReader


class DrainedError(ApiError):
    """The process is about to stop, and the operation has not ended."""


class Executions:
    """The running subscriptions of the process.

    An execution begins with the first subscriber of an operation and ends with the last. Subscribers share it only
    within an audience: they may see the same tasks, and use the same operations.

    Args:
        schema: the schema to run operations on.
        policies: the fields of the subscription type whose executions are shared, by name.
        context: creates the context of a shared execution, which belongs to no request, for one of its subscribers.
        personal: the arguments with which an execution is not shared, for example to resume after a time.
        documents: reads the documents of operations.
        maximum: how many subscriptions there may be.
        quotas: how many of them a principal and a tenant may have.
    """

    def __init__(
        self,
        schema: Schema,
        policies: Mapping[str, Policy],
        context: Callable[[Fanout, Principal], object],
        personal: frozenset[str] = frozenset(),
        documents: DocumentReader = DEFAULT_READER,
        maximum: int = sys.maxsize,
        quotas: SubscriptionQuotas = NO_SUBSCRIPTION_QUOTAS,
    ) -> None:
        self._schema = schema
        self._documents = documents
        self._policies = policies
        self._personal = personal
        self._context = context
        self._running: dict[Hashable, _Execution] = {}
        self._by_buffer: dict[SendBuffer, _Execution] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self.executed = 0
        self.streams = 0  # calls of subscribe that are under way
        self._maximum = maximum
        self._quotas = quotas
        self._personal_count = 0

    async def __aenter__(self) -> Self:
        self._draining = asyncio.get_running_loop().create_future()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.drain()
        for execution in list(self._running.values()):
            self._stop(execution)
        while self._ending:
            await asyncio.wait(self._ending)

    def __len__(self) -> int:
        return len(self._running)

    def drain(self) -> None:
        """End all calls of :meth:`subscribe`: the process is about to stop. The server itself closes WebSockets."""
        if not self._draining.done():
            self._draining.set_result(None)

    def lack_of_room(self, principal: Principal) -> OverloadedError | QuotaExceededError | None:
        """Return the error of another subscription of a principal, if there are too many already."""
        if len(self._by_buffer) + self._personal_count < self._maximum:
            return self._quotas.lack_of_room(principal)
        return OverloadedError("subscriptions", f"The API carries {self._maximum:,} subscriptions, its maximum")

    @contextlib.asynccontextmanager
    async def personal(self, principal: Principal) -> AsyncIterator[None]:
        """Count a subscription that is not shared, for the time of the block."""
        self._personal_count += 1
        self._quotas.hold(holder := object(), principal)
        try:
            yield
        finally:
            self._quotas.release(holder)
            self._personal_count -= 1

    def policy(self, operation: Operation) -> Policy | None:
        """Return the policy of an operation that is shared, otherwise None."""
        field = self._documents.subscription_field(operation.query, operation.name)
        if field is None or any(argument.name.value in self._personal for argument in field.arguments or ()):
            return None
        return self._policies.get(field.name.value)

    async def subscribe(
        self, operation: Operation, context: object, principal: Principal
    ) -> AsyncGenerator[bytes, None]:
        """Yield the results of an operation of any kind, each a GraphQL response in JSON.

        Args:
            operation: the operation.
            context: the context of an execution that is not shared.
            principal: the caller.

        Raises:
            RefusedOperationError: the operation was not executed.
            OverloadedError: there are too many subscriptions.
            QuotaExceededError: the principal or its tenant has too many.
            DrainedError: the process is about to stop; the client resumes at another one.
        """
        if (full := self.lack_of_room(principal)) is not None:
            raise full
        policy = self.policy(operation)
        results = (
            self._unshared(operation, context, principal)
            if policy is None
            else self._shared(operation, policy, principal)
        )
        self.streams += 1
        try:
            async with contextlib.aclosing(results):
                async for payload in results:
                    yield payload
        finally:
            self.streams -= 1

    def join(self, operation: Operation, buffer: SendBuffer, principal: Principal) -> None:
        """Put the results of a shared operation into a buffer, until it leaves or the operation ends."""
        key = operation.key(principal.audience)
        execution = self._running.get(key)
        if execution is None:
            execution = self._running[key] = self._start(operation, key, principal)
        self._by_buffer[buffer] = execution
        self._quotas.hold(buffer, principal)
        execution.fanout.join(buffer)

    def leave(self, buffer: SendBuffer) -> None:
        """Stop putting results into a buffer. The last one to leave ends the execution."""
        self._quotas.release(buffer)
        execution = self._by_buffer.pop(buffer, None)
        if execution is None:
            return
        execution.fanout.leave(buffer)
        if execution.fanout.is_empty and not execution.task.done():
            self._stop(execution)

    async def opened(self, buffer: SendBuffer) -> None:
        """Wait until a buffer misses nothing that happens from then on, or its operation has ended."""
        # An execution that ended may have been restarted.
        while (execution := self._by_buffer.get(buffer)) is not None and not execution.fanout.is_open:
            await execution.fanout.opened()

    def _start(self, operation: Operation, key: Hashable, principal: Principal) -> _Execution:
        restart_late = functools.partial(self._restart, operation, principal)
        fanout = Fanout(restart_late, holds_back=self.policy(operation) is Policy.LATEST)
        self.executed += 1
        task = asyncio.create_task(self._run(operation, fanout, key, principal))
        return _Execution(key, fanout, task)

    def _restart(self, operation: Operation, principal: Principal, late: Iterable[SendBuffer]) -> None:
        for buffer in late:
            if self._by_buffer.pop(buffer, None) is not None and not self._draining.done():
                self.join(operation, buffer, principal)

    async def _run(self, operation: Operation, fanout: Fanout, key: Hashable, principal: Principal) -> None:
        ending = Ending()
        try:
            stay_one_requester(principal)  # the subscriber that began it is one of many
            publish = functools.partial(_publish, fanout)
            await publish_results(self._schema, operation, self._context(fanout, principal), publish)
        except RefusedOperationError as refusal:
            ending = Ending(refusal.errors, is_refusal=True)
        except Exception as error:  # noqa: BLE001 - internal_error logs it, and all subscribers receive it
            ending = Ending(encode([internal_error(error).formatted]))
        finally:
            # _stop has removed an execution without subscribers, and another one may have its key by now.
            if (execution := self._running.get(key)) is not None and execution.fanout is fanout:
                del self._running[key]
            fanout.end(ending)

    def _stop(self, execution: _Execution) -> None:
        if self._running.get(execution.key) is execution:
            del self._running[execution.key]
        stopping = asyncio.create_task(cancelled([execution.task]))
        self._ending.add(stopping)
        stopping.add_done_callback(self._ending.discard)

    async def _results(self, operation: Operation, context: object) -> AsyncGenerator[ExecutionResult, None]:
        # Strawberry's stream would raise the syntax error itself, not yield it.
        if (error := reader_of(context).refusal(operation.query)) is not None:
            raise RefusedOperationError(encode([error.formatted]))
        stream = await self._schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=context,
            operation_name=operation.name,
        )
        async with contextlib.aclosing(stream):
            async for result in stream:
                if isinstance(result, PreExecutionError):
                    raise RefusedOperationError(encode([error.formatted for error in result.errors or ()]))
                if isinstance(result, ExecutionResult):  # the other types are for @defer, which is disabled
                    yield result

    async def _shared(self, operation: Operation, policy: Policy, principal: Principal) -> AsyncGenerator[bytes, None]:
        reader = WaitingReader()
        buffer = SendBuffer(policy, reader)
        self._draining.add_done_callback(reader.wake)
        self.join(operation, buffer, principal)
        try:
            while True:
                await reader.wait()
                payloads, ending = buffer.take()
                for payload in payloads:
                    yield payload
                if ending is not None:
                    if ending.is_refusal:
                        raise RefusedOperationError(ending.errors or b"[]")
                    if ending.errors is not None:
                        yield b'{"errors":%b}' % ending.errors
                    return
                if self._draining.done():
                    raise DrainedError
        finally:
            self._draining.remove_done_callback(reader.wake)
            self.leave(buffer)

    async def _unshared(
        self, operation: Operation, context: object, principal: Principal
    ) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(self._results(operation, context)) as results, self.personal(principal):
            while True:
                result = asyncio.ensure_future(anext(results, None))
                try:
                    await asyncio.wait({result, self._draining}, return_when=asyncio.FIRST_COMPLETED)
                    if not result.done():
                        raise DrainedError
                finally:
                    await cancelled([result])
                if (completed := result.result()) is None:
                    return
                yield encode_result(completed)


def _publish(fanout: Fanout, result: graphql.ExecutionResult) -> None:
    fanout.publish(encode_result(result), failed=result.data is None)


@dataclass(frozen=True, eq=False, slots=True)
class _Execution:
    key: Hashable
    fanout: Fanout
    task: asyncio.Task[None]
