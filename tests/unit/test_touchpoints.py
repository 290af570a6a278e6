"""The internals of other packages that gql_api relies on, so that an upgrade that changes one fails with a sentence."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from support import ROOT

_TEMPLATE = "messages that are sent together are made from one template"
# By package, module or class, and the wing of gql_api that depends on it: each internal, and why it is needed.
# `name(a, b)` has exactly these parameters, for we override it; `name(a, b, ...)` has at least these, for we call it.
_INTERNALS = {
    ("celery", "celery.app.amqp:AMQP", "worker/sending"): {
        "Connection": "a broker is checked before it is used, and queues are purged over connections of our class",
        "_create_task_sender()": "a task is recorded before it is sent",
        "as_task_v2(task_id, name, args, kwargs, countdown, eta, expires, ...)": "relative times stay relative",
    },
    ("celery", "celery.app.amqp:AMQP", "worker/backend"): {
        "argsrepr_maxsize": "a text for arguments that is not Celery's own hides something",
        "kwargsrepr_maxsize": "a text for arguments that is not Celery's own hides something",
        "_retry_publish(publish, args, ...)": "the body of a chord is sent",
    },
    ("celery", "celery.app.amqp:AMQP", "dispatch.py"): {
        "as_task_v2(task_id, name, args, kwargs, root_id, parent_id, ignore_result, argsrepr, kwargsrepr, ...)": (
            "messages are made from records"
        ),
    },
    ("celery", "celery.app.amqp:task_message", "dispatch.py"): {
        "headers": "headers of a record are added",
        "body": "callbacks of a record are added",
    },
    ("celery", "celery.app.amqp:task_message", "worker/sending"): {
        "headers": "texts for arguments hide some",
        "body": "hidden arguments are found",
        "sent_event": "the event of a sent task hides arguments",
    },
    ("celery", "celery.app.control:Control", "worker/app"): {
        "revoke(task_id, destination, terminate, signal, kwargs)": "revoke also ends the record of a task",
        "purge(connection)": "purge also ends the records of the tasks",
    },
    ("celery", "celery.utils.dispatch.signal:Signal", "worker/state"): {
        "lock": "a forked process has locks of its own",
    },
    ("kombu", "kombu.utils.objects:cached_property", "worker/state"): {
        "lock": "a forked process has locks of its own",
    },
    ("celery", "celery.app.base:Celery", "adopt.py"): {
        "amqp_cls": "tasks are recorded before they are sent",
        "backend_cls": "our result backend is used whatever is configured",
        "AsyncResult": "the ids of results are texts",
        "subclass_with_self(Class, ...)": "the class of results belongs to the application",
        "control_cls": "revoke also ends the record of a task",
        "steps": "the worker starts our threads",
    },
    ("celery", "celery._state", "adopt.py"): {
        "default_app": "threads without a current application use the adopted one",
    },
    ("celery", "celery.app.base:Celery", "worker/app"): {
        "task_cls": "tasks get our base class, unless the application has its own",
        "_tasks": "every task gets our methods when it is added to the registry",
        "finalized": "an application that has tasks already is refused",
    },
    ("celery", "celery.app.base:Celery", "worker/sending"): {
        "current_worker_task": "the sender of a task is its parent",
        "_preconf": "settings are checked before Celery reads the others",
        "configured": "settings are checked before Celery reads the others",
        "on_after_configure": "required settings are set",
        "on_after_finalize": "required settings are set again",
    },
    ("celery", "celery.app.utils:Settings", "worker/sending"): {
        "value_set_for(key)": "an application is told which of its settings have no effect",
        "broker_read_url": "the broker is checked, from whichever setting or variable it comes",
        "broker_write_url": "the broker is checked, from whichever setting or variable it comes",
    },
    ("kombu", "kombu.connection:Connection", "worker/sending"): {
        "transport_cls": "a broker is checked before it is used",
        "alt": "a broker is checked before it is used",
        "channel()": "channels purge queues by our method",
    },
    ("kombu", "kombu.serialization:registry", "worker/sending"): {
        "name_to_type": "a serializer that makes JSON is recognised",
    },
    ("celery", "celery.app.base:Celery", "worker/backend"): {
        "current_worker_task": "a state that a function sets itself does not end its task",
    },
    ("celery", "celery.loaders.base:BaseLoader", "worker/sending"): {
        "import_default_modules()": "the tasks of a purged queue that wait for their rate limit are ended",
    },
    ("celery", "celery._state", "worker/app"): {
        "get_current_worker_task()": "log lines belong to a task",
    },
    ("celery", "celery._state", "worker/state"): {
        "_task_stack": "a coroutine finds its task",
    },
    ("celery", "celery.utils.threads:_LocalStack", "worker/state"): {
        "__ident_func__": "a coroutine finds its task, whatever thread it runs in",
        "__release_local__()": "a coroutine that is left behind has no task",
        "stack": "a coroutine gets the stacks of the thread of its task",
        "push(obj)": "a coroutine gets the stacks of the thread of its task",
    },
    ("celery", "celery.utils.threads", "worker/state"): {
        "get_ident": "a thread without a coroutine finds its task",
    },
    ("celery", "celery.app.task:Task", "worker/state"): {
        "request_stack": "a coroutine finds the request of its task",
    },
    ("celery", "celery.app.task:Task", "worker/app"): {
        "_dump_pydantic_arguments": "results of coroutines are dumped if the task was made with pydantic=True",
    },
    ("celery", "celery.app.trace", "worker/app"): {
        "LOG_SUCCESS": "the results of tasks are not logged",
    },
    ("celery", "celery.app.log", "worker/app"): {
        "TaskFormatter": "control characters are escaped in lines of tasks",
    },
    ("celery", "celery.utils.log", "worker/app"): {
        "task_logger": "log lines of tasks are kept",
        "ColorFormatter": "control characters are escaped in lines of a worker",
    },
    ("celery", "celery.app.task:Task", "worker/attempts"): {
        "before_start(task_id, args, kwargs)": "a worker claims a task before it runs",
        "__call__(args, kwargs)": "only the function counts for limits",
        "apply_async(args, kwargs, task_id, producer, link, link_error, shadow, options)": (
            "a retry is stored before it is sent"
        ),
        "on_replace(sig)": "a replaced task hands its record over",
        "Request": "requests of claimed tasks are of our class",
        "store_errors_even_if_ignored": "failures of tasks that ignore their result are stored",
        "track_started": "the claim is the only start that is stored",
    },
    ("celery", "celery.app.task", "worker/sending"): {
        "Context.__init__(args, kwargs)": "recovery makes the request of a lost task from its record",
    },
    ("celery", "celery.worker.request:Request", "worker/attempts"): {
        "_request_dict": "the ids of a task are texts",
        "_argsrepr": "hidden arguments are not logged",
        "_kwargsrepr": "hidden arguments are not logged",
        "info(safe)": "remote control does not report hidden arguments",
        "_context": "the request carries the state of the attempt",
        "cancel(pool, signal, emit_retry)": "a cold shutdown does not fail the task of a solo worker",
        "_already_revoked": "a revoked task is not given back",
        "_already_cancelled": "a task is given back once",
        "_announce_cancelled(emit_retry)": "a task whose process ends with the worker is given back",
        "_announce_revoked(reason, terminated, signum, expired)": "a task that was revoked before its start is ended",
        "on_failure(exc_info, send_failed_event, return_ok)": "a task whose process was lost is given back",
        "on_timeout(soft, timeout, ...)": "a hard limit ends the task, a soft one is logged",
        "on_accepted(pid, time_accepted)": "the process of a task is known",
        "revoked()": "a worker that ends begins no task",
        "time_limits": "limits are ours and not the pool's",
        "time_start": "a revoked task may not have begun",
    },
    ("celery", "celery.worker.request:Request", "worker/app"): {
        "_context": "a task that was sent without a record gets one before it waits for its rate limit",
    },
    ("kombu", "kombu.utils.limits:TokenBucket", "worker/app"): {
        "can_consume(tokens)": "a task runs at once if its rate limit allows that",
        "expected_time(tokens)": "a task waits until its rate limit allows another",
        "contents": "tasks that wait in the worker come first",
        "fill_rate": "as many tasks come back as may run",
    },
    ("celery", "celery.result:AsyncResult", "worker/sending"): {
        "__init__(id, backend, task_name, app, parent)": "the ids of results are texts",
    },
    ("celery", "celery.worker.request", "worker/attempts"): {
        "task_ready": "a given back task leaves the worker",
    },
    ("celery", "celery.worker.state", "worker/attempts"): {
        "requests": "a task is found by its id",
        "active_requests": "the leases of running tasks are extended",
        "should_stop": "a process that is lost while its worker stops is not held against its task",
        "should_terminate": "a worker that ends begins no task",
    },
    ("celery", "celery.worker.consumer.consumer:Consumer", "worker/attempts"): {
        "connection_for_read(heartbeat)": "a new connection is guarded before it restores messages",
        "create_task_handler(...)": "a message is checked before Celery handles it",
        "connection_errors": "the loss of a connection is not a message's fault",
    },
    ("kombu", "kombu.messaging:Consumer", "worker/attempts"): {
        "on_decode_error": "a message that cannot be decompressed is set aside",
        "consuming_from(queue)": "messages of queues are told from those of remote control",
    },
    ("kombu", "kombu.transport.virtual.base:Transport", "worker/attempts"): {
        "_deliver(message, queue)": "a message is checked before it is delivered",
        "create_channel(connection)": "each channel is guarded",
        "channels": "each channel is guarded",
    },
    ("kombu", "kombu.transport.redis:QoS", "worker/attempts"): {
        "restore_by_tag(tag, client, leftmost)": "an entry that cannot be restored is set aside",
        "_remove_from_indices(delivery_tag, ...)": "an entry that cannot be restored is set aside",
        "unacked_key": "an entry that cannot be restored is set aside",
    },
    ("celery", "celery.worker.state", "worker/app"): {
        "should_stop": "a stopping worker restores its messages",
        "should_terminate": "a terminated worker restores its messages",
    },
    ("celery", "celery.concurrency.asynpool:ResultHandler", "worker/app"): {
        "_recv_message(add_reader, fd, callback, ...)": "a result that was read in part is read on",
        "_finish_partial_read(fd, proc)": "a result that was read in part is read to its end",
        "_hub": "a result that was read in part is known to the event loop",
    },
    ("celery", "celery.concurrency.asynpool:AsynPool", "worker/app"): {
        "process_flush_queues(proc)": "a result that was cut off is not taken for another",
        "_result_handler": "the pool's methods are replaced",
    },
    ("celery", "celery.concurrency.prefork:TaskPool", "worker/app"): {
        "_pool": "the pool's methods are replaced",
    },
    ("celery", "celery.worker.control", "worker/app"): {
        "inspect_command(...)": "a health check asks whether a worker consumes",
        "control_command(...)": "time limits are changed in a running worker",
        "time_limit(state, task_name, hard, soft, ...)": "time limits are changed in a running worker",
    },
    ("celery", "celery.worker.consumer.consumer:Consumer", "worker/app"): {
        "hub": "a gevent worker is recognised by having no event loop",
        "on_unknown_task(body, message, exc)": "tasks that this worker does not know are left to others",
        "on_unknown_message(body, message)": "messages that no Celery program sends are rejected",
        "on_invalid_task(body, message, exc)": "a message that was received late is refused like any other",
        "call_soon(p, args, kwargs)": "a message is acknowledged by the thread that received it",
        "update_strategies()": "time limits are changed in a running worker",
        "_limit_task(request, bucket, tokens)": "tasks with used-up rate limits wait in their records",
        "_limit_post_eta(request, bucket, tokens)": "tasks with used-up rate limits wait in their records",
        "_limit_move_to_pool(request)": "a task that has waited for its rate limit in the worker is counted",
    },
    ("celery", "celery.worker.worker:WorkController", "worker/attempts"): {
        "time_limit": "hard limits are ours",
        "pool_cls": "the kind of the pool is known",
    },
    ("celery", "celery.concurrency.base:BasePool", "worker/registration"): {
        "num_processes": "the present concurrency of a worker is announced",
    },
    ("celery", "celery.worker.autoscale:Autoscaler", "worker/registration"): {
        "max_concurrency": "the concurrency of an autoscaling worker is announced",
    },
    ("celery", "celery.backends.base:Backend", "worker/backend"): {
        "process_cleanup()": "the traceback of an ended attempt is dropped after everything that may read it",
        "exception_safe_to_retry(exc)": "only an outage is waited for",
        "_fail_chain(chain, exc, traceback, store_result, state)": "the rest of a chain fails with a step",
        "_call_task_errbacks(request, exc, traceback)": "errbacks of a failed task are called",
        "mark_as_done(task_id, result, request, store_result, state)": (
            "the end of a task that ignores its result is stored"
        ),
        "mark_as_failure(task_id, exc, traceback, request, store_result, call_errbacks, state)": (
            "an attempt that has lost its task has no consequences"
        ),
        "mark_as_revoked(task_id, reason, request, store_result, state)": "a revoked member counts in its chord",
        "mark_as_retry(task_id, exc, traceback, request, store_result, state)": "a retry is stored once",
        "chord_error_from_stack(callback, exc)": "the body of a failed chord gets a record",
        "on_chord_part_return(request, state, result, kwargs)": "the last member of a chord sends its body",
        "current_task_children(request)": "children are stored",
        "encode_result(result, state)": "errors keep their text",
        "exception_to_python(exc)": "no stored error ends the caller's program",
        "meta_from_decoded(meta)": "AsyncResult reads errors",
        "always_retry": "no process waits for the result backend of stock processes",
        "get_task_meta(task_id, cache, ...)": "results of stock workers are read",
    },
    ("celery", "celery.backends.redis:RedisBackend", "worker/backend"): {
        "retry_policy": "no process waits for the result backend of stock processes",
    },
    ("celery", "celery.app.backends", "worker/backend"): {
        "by_url(backend, loader)": "the result backend of stock processes is opened",
    },
    ("celery", "celery.utils.serialization", "worker/backend"): {
        "UnpickleableExceptionWrapper": "the original of an error that cannot be pickled is stored",
        "create_exception_cls(name, module, ...)": "a caller gets an error with the name of the original",
    },
    ("celery", "celery.backends.mongodb:MongoBackend", "worker/backend"): {
        "_store_result(task_id, result, state, traceback, request, kwargs)": "states become changes of the record",
        "_get_task_meta_for(task_id)": "AsyncResult reads the record",
        "_save_group(group_id, result)": "groups are kept",
        "_restore_group(group_id)": "groups are read",
        "_delete_group(group_id)": "groups are deleted",
        "_forget(task_id)": "forget drops the result only",
        "database": "our connections are used",
        "collection": "results are in the records",
        "group_collection": "groups are in our collection",
        "supports_result_compression": "compressed results cannot be read by us",
    },
    ("celery", "celery.canvas", "worker/backend"): {
        "_chain": "the tasks of a body are found",
    },
    ("celery", "celery.app.task:Task", "worker/backend"): {
        "_get_exec_options()": "a later step of a chain is recorded in the queue that it will be sent to",
    },
    ("celery", "celery.app.routes:Router", "worker/backend"): {
        "route(options, name, args, kwargs, task_type, ...)": (
            "a later step of a chain is recorded in the queue that it will be sent to"
        ),
    },
    ("kombu", "kombu.transport.redis:Channel", "worker/recovery"): {
        "_q_for_pri(queue, pri)": "the list of a priority is found",
        "global_keyprefix": "the list of a priority is found",
    },
    ("kombu", "kombu.transport.redis:Channel", "dispatch.py"): {
        "priority_steps": "every priority has its own list in Redis",
        "global_keyprefix": "messages are in the lists of the workers",
        "sep": "messages are in the lists of the workers",
    },
    ("kombu", "kombu.transport.virtual.base:Transport", "worker/app"): {
        "drain_events(connection, timeout)": "the replaced method passes both on",
    },
    ("kombu", "kombu.transport.virtual.base:Channel", "worker/app"): {
        "typeof(exchange, ...)": "a broadcast is recognised",
        "_lookup(exchange, routing_key, ...)": "a forwarded message goes back to its queue",
        "closed": "a lost connection is seen",
    },
    ("kombu", "kombu.transport.virtual.base:Channel", "worker/sending"): {
        "queue_purge(queue, ...)": "the tasks of a purged queue are ended",
        "prepare_message(body, priority, content_type, content_encoding, headers, properties)": _TEMPLATE,
        "_inplace_augment_message(message, exchange, routing_key)": _TEMPLATE,
        "encode_body(body, encoding)": _TEMPLATE,
        "body_encoding": _TEMPLATE,
    },
    ("kombu", "kombu.transport.redis:Channel", "worker/sending"): {
        "_q_for_pri(queue, pri)": "the tasks of a purged queue are ended",
        "priority_steps": "the tasks of a purged queue are ended",
        "global_keyprefix": "the tasks of a purged queue are ended, and no others",
        "conn_or_acquire(...)": "the tasks of a purged queue are ended",
        "_get_message_priority(message, ...)": _TEMPLATE,
    },
    ("kombu", "kombu.common:QoS", "worker/app"): {
        "increment_eventually(n)": "messages that wait to be forwarded do not count as tasks",
        "decrement_eventually(n)": "messages that were forwarded do not count as waiting",
    },
    ("kombu", "kombu.transport.redis:Channel", "worker/app"): {
        "basic_ack(delivery_tag, multiple)": "a message of a lost connection is left",
        "basic_reject(delivery_tag, requeue)": "a message of a lost connection is left",
        "closed": "a lost connection is seen",
        "connection_errors": "a lost connection is seen",
        "ack_emulation": "messages that were delivered are in Redis until they are acknowledged",
        "unacked_key": "a message is moved from there to its queue",
        "unacked_index_key": "a message is moved from there to its queue",
        "global_keyprefix": "a message is moved to its queue",
        "conn_or_acquire(...)": "messages are moved over a connection of the channel",
        "_create_client(asynchronous)": "a channel keeps its client",
        "pool": "a channel keeps its client as long as its pool",
        "_get_message_priority(message, ...)": "a message is moved to the list of its priority",
        "_q_for_pri(queue, pri)": "a message is moved to the list of its priority",
    },
    ("kombu", "kombu.transport.redis:QoS", "worker/app"): {
        "restore_by_tag(tag, ...)": "messages of tasks that have not started go back to their queue",
        "_remove_from_indices(delivery_tag, pipe)": "messages of ended tasks are acknowledged together",
    },
    ("kombu", "kombu.transport.virtual.base:QoS", "worker/app"): {
        "ack(delivery_tag)": "a message that cannot be acknowledged takes no place in the worker",
        "_flush()": "messages of tasks that have not started go back to their queue",
    },
    ("kombu", "kombu.messaging:Producer", "messages"): {
        "_batch_local": "a message is recorded, and not sent",
    },
    ("kombu", "kombu.transport.virtual.base:Channel", "messages"): {
        "basic_publish(message, ...)": "a recorded message is complete",
    },
    ("kombu", "kombu.messaging:Producer", "dispatch.py"): {
        "batch(max_size)": "many messages leave at once",
    },
    ("kombu", "kombu.connection:ConnectionPool", "dispatch.py"): {
        "force_close_all(close_pool, ...)": "a closed dispatcher leaves a pool that the next one can use",
        "setup()": "the emptied pool is filled again",
    },
    ("billiard", "billiard.pool", "worker/attempts"): {
        "SIG_SOFT_TIMEOUT": "soft limits end functions only",
        "soft_timeout_sighandler(signum, frame)": "soft limits are let in again after they were ignored",
    },
    ("billiard", "billiard.common", "worker/attempts"): {
        "terminate_handler_fired()": "a function's own SystemExit is told from that of a signal",
    },
    ("billiard", "billiard.einfo:ExceptionWithTraceback", "worker/attempts"): {
        "exc": "the error of a lost process is unwrapped",
    },
    ("strawberry-graphql", "strawberry.schema.schema:Schema", "api/execution"): {
        "_schema": "operations are executed by graphql-core itself",
    },
    ("strawberry-graphql", "strawberry.schema.schema", "api/execution"): {
        "StrawberryGraphQLCoreExecutionContext": "the executor with plans is a subclass",
    },
    ("strawberry-graphql", "strawberry.schema.validation_rules.maybe_null", "api/execution"): {
        "MaybeNullValidationRule": "documents are validated by Strawberry's own rules too",
    },
    ("strawberry-graphql", "strawberry.schema.validation_rules.one_of", "api/execution"): {
        "OneOfInputValidationRule": "documents are validated by Strawberry's own rules too",
    },
    ("strawberry-graphql", "strawberry.types.execution:ExecutionContext", "api/execution"): {
        "_provided_operation_name": "an operation without a name is refused among several",
        "graphql_document": "documents come from our cache",
        "pre_execution_errors": "errors of documents come from our cache",
    },
    ("strawberry-graphql", "strawberry.extensions.mask_errors:MaskErrors", "api/execution"): {
        "_process_result(result)": "results are masked without a check of their protocol",
        "_process_errors(errors)": "unexpected errors are masked",
        "anonymise_error(error)": "unexpected errors are masked",
    },
    ("strawberry-graphql", "strawberry.schema.schema_converter:GraphQLCoreConverter", "api/execution"): {
        "DEFINITION_BACKREF": "plans read Strawberry's definition of a field",
    },
    ("strawberry-graphql", "strawberry.types.field:StrawberryField", "api/execution"): {
        "base_resolver": "plans call simple resolvers",
        "default_resolver": "plans read attributes",
        "arguments": "resolvers of root fields are called with plain arguments",
        "is_async": "plans leave asynchronous resolvers to graphql-core",
        "is_subscription": "plans answer events",
        "python_name": "plans read attributes",
    },
    ("strawberry-graphql", "strawberry.types.arguments:StrawberryArgument", "api/execution"): {
        "is_maybe": "arguments that Strawberry converts are left to it",
    },
    ("strawberry-graphql", "strawberry.extensions.field_extension:FieldExtension", "api/execution"): {
        "map_arguments(kwargs)": "an extension that changes arguments is left to Strawberry",
        "resolve_async(next_, source, info, kwargs)": "the audit log stands before each mutation",
        "supports_async": "an extension that cannot be awaited is left to Strawberry",
    },
    ("strawberry-graphql", "strawberry.types.info", "api/execution"): {
        "Info.__init__(_raw_info, _field)": "resolvers of root fields are called without graphql-core's executor",
    },
    ("strawberry-graphql", "strawberry.types.fields.resolver:StrawberryResolver", "api/execution"): {
        "info_parameter": "resolvers of root fields are called without graphql-core's executor",
        "parent_parameter": "resolvers of root fields are called without graphql-core's executor",
        "root_parameter": "resolvers of root fields are called without graphql-core's executor",
        "self_parameter": "plans call simple resolvers",
        "signature": "plans call simple resolvers",
        "wrapped_func": "plans call simple resolvers",
    },
    ("strawberry-graphql", "strawberry.types.base:StrawberryObjectDefinition", "api/execution"): {
        "is_type_of": "plans leave types with a predicate to graphql-core",
    },
    ("strawberry-graphql", "strawberry.schema.schema_converter:CustomGraphQLEnumType", "api/execution"): {
        "wrapped_cls": "plans write enum members",
    },
    ("strawberry-graphql", "strawberry.schema.name_converter:NameConverter", "api/schema"): {
        "apply_naming_config(name)": "each name is made once",
    },
    ("strawberry-graphql", "strawberry.execution.is_awaitable", "api/execution"): {
        "optimized_is_awaitable(value)": "operations are executed without the hooks of Schema.execute",
    },
    ("strawberry-graphql", "strawberry.types.base:StrawberryObjectDefinition", "api/schema"): {
        "from_input": "an input of leaves is built at once",
    },
    ("strawberry-graphql", "strawberry.schema.schema:Schema", "api/schema"): {
        "execute(query, variable_values, context_value, root_value, operation_name, allowed_operation_types, "
        "operation_extensions)": "operations are executed without its hooks",
        "process_errors(errors, execution_context)": "errors are logged once, where they are masked",
    },
    ("strawberry-graphql", "strawberry.asgi:GraphQL", "api/http"): {
        "_create_streaming_response(request, result, protocol, sub_response)": "streams are in our formats",
        "execute_operation(request, request_adapter, request_data, context, root_value, sub_response)": (
            "mutations are refused by GET, and subscriptions are shared"
        ),
        "parse_http_body(request)": "requests are checked",
        "get_sub_response(request)": "Accept is kept",
        "process_result(request, result)": "a refusal has no data",
        "create_response(response_data, sub_response)": "answers have the media type and status of the specification",
        "is_request_allowed(request)": "other methods are refused",
        "is_websocket_origin_allowed(request, origin)": "the guard of the application decides on origins",
        "should_render_graphql_ide(request)": "the playground is a page of our own",
    },
    (
        "strawberry-graphql",
        "strawberry.subscriptions.protocols.graphql_transport_ws.handlers:BaseGraphQLTransportWSHandler",
        "api/websocket",
    ): {
        "handle()": "the server runs a session without the call of the application",
        "handle_connection_init(message)": "a client is authenticated, and its handshake forgotten",
        "handle_invalid_message(error_message)": "text that is not JSON closes the socket",
        "connection_init_received": "a second connection_init is left to Strawberry",
        "websocket": "only the close is left of the socket that Strawberry keeps",
        "shutdown()": "all operations of a closed socket end",
        "on_request_accepted()": "a timer waits for connection_init",
        "_get_pre_execution_close_reason(error)": "an operation that cannot be chosen does not close the socket",
        "handle_message(message)": "frames are checked",
        "handle_subscribe(message)": "shared executions are joined",
        "run_operation(operation)": "an operation begins when the subscriptions before it are open",
        "cleanup_operation(operation_id)": "shared executions are left",
        "send_message(message)": "one writer sends all",
        "operations": "ids of operations are unique",
        "connection_timed_out": "a late init is refused",
        "connection_acknowledged": "an operation before connection_init is refused",
    },
    ("strawberry-graphql", "strawberry.subscriptions.protocols.graphql_transport_ws.handlers", "api/websocket"): {
        "Operation.__init__(handler, id, query, variables, operation_name)": (
            "shared executions are operations of the socket"
        ),
    },
    (
        "strawberry-graphql",
        "strawberry.subscriptions.protocols.graphql_transport_ws.handlers:Operation",
        "api/websocket",
    ): {
        "send_initial_errors(errors)": "syntax errors are sent",
    },
    ("strawberry-graphql", "strawberry.asgi:ASGIWebSocketAdapter", "api/websocket"): {
        "ws": "the scope of the socket has our transport",
    },
    ("graphql-core", "graphql.execution:Executor", "api/execution"): {
        "build(schema, document, context_value, raw_variable_values, operation_name, ...)": (
            "subscriptions are executed without Strawberry"
        ),
        "hide_suggestions": "errors about variables have no suggestions in production",
        "build_per_event_executor(payload)": "each event of a subscription is executed",
        "execute_operation(serially)": "events are planned",
        "build_resolve_info(field_def, field_nodes, parent_type, path)": "resolvers of root fields get what others get",
        "complete_value(return_type, field_details_list, info, path, result, position_context)": (
            "values of root fields that plans cannot complete are completed"
        ),
        "handle_field_error(raw_error, return_type, field_details_list, path)": "errors are bounded",
        "collected_errors": "errors are bounded",
        "execute_field(parent_type, source, field_details_list, path, position_context)": "fields are planned",
        "collect_subfields(return_type, field_details_list)": "selected fields are collected once",
        "build_response(data)": "planned events are answered",
        "middleware_manager": "middleware is refused",
        "fragment_definitions": "plans include fragments",
    },
    ("graphql-core", "graphql.execution.values:VariableValues", "api/execution"): {
        "coerced": "plans depend on conditions",
    },
    ("graphql-core", "graphql.execution.collect_fields", "api/execution"): {
        "collect_fields(schema, fragments, variable_values, runtime_type, operation, hide_suggestions, ...)": (
            "the field of a subscription is collected"
        ),
    },
    ("graphql-core", "graphql.execution.collect_fields:CollectedFields", "api/execution"): {
        "grouped_field_set": "plans read the selected fields",
        "new_defer_usages": "deferred fragments and fragments with variables have no plan",
    },
    ("graphql-core", "graphql.execution.collect_fields:FieldDetails", "api/execution"): {
        "defer_usage": "deferred fragments and fragments with variables have no plan",
        "fragment_variable_values": "deferred fragments and fragments with variables have no plan",
    },
    ("graphql-core", "graphql", "api/execution"): {
        "create_source_event_stream(executor)": "subscriptions have events",
    },
    ("graphql-core", "graphql:GraphQLScalarType", "api/execution"): {
        "coerce_output_value": "plans write scalars",
    },
    ("uvicorn", "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol", "server"): {
        "connection_made(transport)": "a connection that says nothing has a deadline",
        "data_received(data)": "a request that does not end has a deadline and a size",
        "on_message_begin()": "a request has a deadline for its headers",
        "on_url(url)": "headers are bounded",
        "on_header(name, value)": "headers are bounded",
        "on_headers_complete()": "a request has a deadline for its body",
        "on_message_complete()": "a whole request has no deadline",
        "send_400_response(msg)": "headers over the limit have a status of their own",
        "flow": "a client is not late while the server does not read",
        "pipeline": "an answer does not go between those of other requests",
        "handle_websocket_upgrade()": "a plain handshake is not parsed twice",
        "shutdown()": "endless answers end when the server stops",
        "parser": "it is released with the request",
        "url": "the scope of a handshake is made from it",
        "headers": "the scope of a handshake is made from them",
        "ws_protocol_class": "only our WebSocket class takes handshakes over",
        "cycle": "an answer that has not ended is known",
    },
    ("uvicorn", "uvicorn.protocols.http.httptools_impl:RequestResponseCycle", "server"): {
        "response_complete": "an answer that has not ended is known",
        "response_started": "a late request that is being answered gets no other answer",
        "transport": "the head and the body of an answer are one write",
    },
    ("uvicorn", "uvicorn.server:Server", "server"): {
        "startup(sockets)": "the collector is set up after it, and several processes are told apart from one",
        "capture_signals()": "the server of the metrics leaves the signals to the API's own",
        "on_tick(counter)": "the limit of open files is checked once a second",
    },
    ("uvicorn", "uvicorn.protocols.websockets.websockets_sansio_impl", "server"): {
        "WebSocketsSansIOProtocol.__init__(config, server_state, app_state, _loop)": "our HTTP protocol creates it",
    },
    ("uvicorn", "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol", "server"): {
        "handle_connect(event)": "the application finds our transport",
        "send(message)": "a plain handshake is answered by us",
        "data_received(data)": "bad requests are refused",
        "start_keepalive()": "our transport opens after the handshake",
        "keepalive_timeout()": "clients that do not read are cut off",
        "pause_writing()": "a client that does not read is noticed",
        "resume_writing()": "a client that reads again is noticed",
        "shutdown()": "sockets close with 1001",
        "run_asgi()": "a plain handshake starts the application",
        "on_task_complete(task)": "the task of the application ends",
        "close_sent": "a property of ours sees every close",
        "handshake_initiated": "a plain handshake sets it",
        "handshake_complete": "a plain handshake sets it, and so does a refusal",
        "initial_response": "a refusal is left to uvicorn",
        "close_timer": "a closed socket does not linger",
        "read_paused": "a paused client can still close",
        "app": "the session of a socket runs behind the application",
        "scope": "an open socket keeps nothing of its handshake",
        "queue": "events reach the application, through a queue that takes less memory",
        "receive()": "events reach the session",
        "writable": "an event that takes less memory",
        "default_headers": "a plain handshake has them",
        "conn": "frames are read by the websockets library",
    },
    ("uvicorn", "uvicorn.config", "server"): {
        "STARTUP_FAILURE": "several processes end with the exit code of one when their port is taken",
    },
    ("uvicorn", "uvicorn._types", "server"): {
        "ASGISendEvent": "it is the type of our override",
        "ASGIReceiveEvent": "it is the type of our queue",
        "ASGIReceiveCallable": "it is the type of our application",
        "ASGISendCallable": "it is the type of our application",
    },
    ("prometheus-client", "prometheus_client.values", "telemetry"): {
        "MultiProcessValue(process_identifier)": "a replacement counts on from the figures of a dead process",
        "ValueClass": "the figures of several processes are added up",
    },
    ("websockets", "websockets.utils", "server"): {
        "accept_key(key)": "a plain handshake is answered",
    },
    ("websockets", "websockets.server:ServerProtocol", "server"): {
        "state": "a plain handshake opens it",
        "parser": "a plain handshake replaces it",
        "send_close(code, ...)": "sockets close with 1001",
        "data_to_send()": "the close frame is written",
        "logger": "sockets are not logged one by one",
    },
    ("redis", "redis.asyncio.connection:DefaultParser", "api/pubsub"): {
        "_reader": "many events are read at once",
        "on_connect(connection)": "our parser begins with a connection",
    },
    ("redis", "redis.asyncio.connection:AbstractConnection", "api/pubsub"): {
        "read_response(disable_decoding, timeout, ...)": "events are read without a timeout for each",
        "send_packed_command(command, check_health, ...)": "subscriptions are sent in one write",
        "pack_commands(commands, ...)": "subscriptions are sent in one write",
        "disconnect(nowait, ...)": "a lost connection is closed at once",
    },
    ("redis", "redis.asyncio.connection:ConnectionPool", "api/pubsub"): {
        "make_connection()": "one connection is held",
    },
    ("redis", "redis.connection:ConnectionPool", "worker/store"): {
        "make_connection()": "one connection is held",
    },
    ("redis", "redis.connection:ConnectionPool", "addresses.py"): {
        "make_connection()": "an address is checked without a connection",
    },
    ("redis", "redis.connection:AbstractConnection", "worker/store"): {
        "can_read(timeout, ...)": "a closed connection is noticed",
    },
    ("honcho", "honcho.manager", "cli"): {
        "SIGNALS": "the exit code of Ctrl-C is known",
    },
    ("honcho", "honcho.manager:Manager", "cli"): {
        "_all_started()": "the worker stops first",
        "_killall(force)": "what has not started is not killed",
        "_processes": "what has not started is not killed",
        "_process_ctor": "our process class is used",
        "_system_print(data)": "our own lines are printed",
        "_terminating": "the worker stops first",
        "terminate()": "the worker stops first",
    },
    ("honcho", "honcho.process:Process", "cli"): {
        "_child_ctor": "the group of a process ends with it",
    },
    ("honcho", "honcho.process", "cli"): {
        "Popen.__init__(cmd, kwargs)": "the group of a process ends with it",
    },
    ("honcho", "honcho.printer:Printer", "cli"): {
        "write(message)": "lines are printed whole",
    },
    ("cross-web", "cross_web:AsyncHTTPRequestAdapter", "api/http"): {
        "get_body()": "bodies are read",
        "content_type": "other bodies are refused",
    },
    ("cross-web", "cross_web", "api/http"): {
        "HTTPException.__init__(status_code, reason)": "refusals have a status",
    },
}


@dataclass(frozen=True)
class TouchPoint:
    """An internal of a package, and what of ours depends on it.

    ``source`` is a piece of the internal's own source, where we rely on what it does.
    ``ours`` is the word by which our code refers to the internal, when that is not its name.
    """

    package: str
    internal: str
    wing: str
    reason: str
    source: str = ""
    ours: str = ""

    @property
    def path(self) -> str:
        """The module and the name in it."""
        return self.internal.partition("(")[0]

    @property
    def word(self) -> str:
        """The word by which our code refers to it: of a constructor the name of the class."""
        return self.ours or re.split(r"[.:]", self.path.removesuffix(".__init__"))[-1]

    def problem(self) -> str | None:
        """Return what is different in the installed version, if anything is."""
        try:
            found = _find(self.path)
        except (ImportError, AttributeError):
            return "is gone"
        if "(" in self.internal:
            expected = re.findall(r"\w+|\.\.\.", self.internal.partition("(")[2])
            actual = _parameters(found)
            if actual is None:
                return "cannot be called"
            if expected[-1:] == ["..."]:
                actual = [name for name in expected if name in actual or name == "..."]
            if actual != expected:
                return f"takes ({', '.join(actual)}) and not ({', '.join(expected)})"
        if self.source and self.source not in inspect.getsource(_function(found)):
            return f"does not contain `{self.source}`"
        return None

    def explain(self, problem: str) -> str:
        """Return the sentence for the person who raises a cap."""
        installed = version(self.package)
        return (
            f"{self.package} {installed}: {self.path} {problem}. gql_api/{self.wing} depends on it: {self.reason}. "
            "See docs/upgrading.md."
        )


class _AssignedOnInstances:
    """Stands for an attribute that a class sets in its methods."""


def _find(path: str) -> Any:
    """Return what a path names, unbound.

    Raises:
        ImportError: there is no such module.
        AttributeError: there is no such name in it.
    """
    module, _, names = path.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        try:
            found = inspect.getattr_static(found, name)
        except AttributeError:
            if not (inspect.isclass(found) and _assigns(found, name)):
                raise
            return _AssignedOnInstances
    return found


def _assigns(class_: type, name: str) -> bool:
    assignment = re.compile(rf"\bself\.{name}(?:: [^=\n]+)? = |^    {name}: ", re.MULTILINE)
    packages = [base for base in class_.__mro__ if base.__module__.partition(".")[0] not in sys.stdlib_module_names]
    return any(assignment.search(inspect.getsource(base)) for base in packages)


def _function(found: Any) -> Any:
    """Return the function inside a method or a property."""
    for name in ("__func__", "func", "fget"):
        found = getattr(found, name, found)
    return found


def _parameters(found: Any) -> list[str] | None:
    """Return the names of the parameters; None for a value, a property or a built-in function."""
    if isinstance(found, property | cached_property):
        return None
    try:
        parameters = inspect.signature(_function(found)).parameters
    except (TypeError, ValueError):
        return None
    return [name for name in parameters if name not in {"self", "cls"}]


_BEHAVIOUR = [
    TouchPoint(
        "graphql-core",
        "graphql.execution.execute:execute",
        "api/execution",
        "the context is the fourth argument of Executor.build, which has suggestions hidden by a keyword",
        source="context_value,\n        variable_values,",
        ours="_CONTEXT",
    ),
    TouchPoint(
        "strawberry-graphql",
        "strawberry.schema.schema:validate_document",
        "api/execution",
        "documents are validated by the same rules, in the same order",
        source="*validation_rules,\n        MaybeNullValidationRule,\n        OneOfInputValidationRule,\n    )",
        ours="validate_document",
    ),
    TouchPoint(
        "kombu",
        "kombu.transport.redis:Channel._put",
        "worker/sending",
        "messages that are sent together are pushed as kombu pushes each, and not to a queue that expires",
        source="'lpush', key, dumps(message))\n            if self._expires and queue in self._expires:",
        ours="_expires",
    ),
    TouchPoint(
        "kombu",
        "kombu.transport.redis:Channel._put",
        "messages",
        "the command of a message is recorded, and is the same for all messages of its kind",
        source="publish_batch.add('lpush', key, dumps(message))",
        ours="_publish_batch",
    ),
    TouchPoint(
        "celery",
        "celery.app.amqp:AMQP.send_task_message",
        "worker/sending",
        "all messages leave through the sender that is made there",
        source="self._create_task_sender()",
        ours="_create_task_sender",
    ),
    TouchPoint(
        "celery",
        "celery.app.amqp:AMQP._create_task_sender",
        "worker/sending",
        "handlers of before_task_publish change the message before it is recorded where it is published",
        source="ret = producer.publish(body, **publish_kwargs)",
    ),
    TouchPoint(
        "celery",
        "celery.app.trace:build_tracer",
        "worker/attempts",
        "a task that overrides __call__ and before_start is run through both, where the claim is taken",
        source="fun = task if task_has_custom(task, '__call__') else task.run",
        ours="__call__",
    ),
    TouchPoint(
        "celery",
        "celery.app.task:Task.retry(args, kwargs, exc, throw, eta, countdown, max_retries, options)",
        "worker/attempts",
        "apply_async recognises a retry by its id and number, which come from this signature",
        source="S = self.signature_from_request(",
    ),
    TouchPoint(
        "celery",
        "celery.app.task:Task.replace",
        "worker/attempts",
        "the record is handed over in on_replace",
        source="return self.on_replace(sig)",
        ours="on_replace",
    ),
    TouchPoint(
        "celery",
        "celery.worker.components:Pool",
        "worker/registration",
        "our threads start after the pool has forked",
        ours="celery.worker.components:Pool",
    ),
    TouchPoint(
        "celery",
        "celery.worker.consumer.tasks:Tasks.start",
        "worker/app",
        "our steps change the channel that this step opens",
        source="c.task_consumer = c.app.amqp.TaskConsumer(",
        ours="celery.worker.consumer.tasks:Tasks",
    ),
    TouchPoint(
        "celery",
        "celery.app.trace:build_tracer",
        "worker/backend",
        "the traceback of an ended attempt is dropped after everything that may read it",
        source="task.backend.process_cleanup()",
        ours="process_cleanup",
    ),
    TouchPoint(
        "celery",
        "celery.app.base:Celery._task_from_fun",
        "worker/app",
        "every task is added to the registry, where it gets our methods, before Celery wraps its function",
        source="self._tasks[task.name] = task",
        ours="_tasks",
    ),
    TouchPoint(
        "celery",
        "celery.app.autoretry:add_autoretry_behaviour",
        "worker/app",
        "what is retried automatically is the result of the coroutine",
        source="task._orig_run, task.run = task.run, run",
        ours="_orig_run",
    ),
    TouchPoint(
        "celery",
        "celery.app.base:pydantic_wrapper",
        "worker/app",
        "the result of a coroutine is dumped as other results are",
        source="returned_value.model_dump(**dump_kwargs)",
        ours="dump_kwargs",
    ),
    TouchPoint(
        "celery",
        "celery.worker.consumer.consumer:Consumer.create_task_handler",
        "worker/app",
        "our step replaces the handler before the loop reads it, and its error names the task",
        source="on_unknown_task = self.on_unknown_task",
        ours="on_unknown_task",
    ),
    TouchPoint(
        "celery",
        "celery.worker.consumer.consumer:Consumer.update_strategies()",
        "worker/app",
        "a message for another version of a task function is left to other workers",
        source="self.strategies[name] = task.start_strategy(self.app, self)",
        ours="strategies",
    ),
    TouchPoint(
        "celery",
        "celery.concurrency.prefork:TaskPool",
        "worker/attempts",
        "a pool of processes is recognised by its module",
        ours="prefork",
    ),
    TouchPoint(
        "celery",
        "celery.backends.base:Backend.store_result(task_id, result, state, traceback, request, kwargs)",
        "worker/backend",
        "states become changes of the record, again and again while MongoDB is away",
        source="self._store_result,",
    ),
    TouchPoint(
        "celery",
        "celery.backends.base:Backend._ensure_retryable(func, ...)",
        "worker/backend",
        "workers wait for MongoDB",
        source="self.always_retry and self.exception_safe_to_retry(exc)",
    ),
    TouchPoint(
        "celery",
        "celery.canvas:_chord.run",
        "worker/backend",
        "a chord is kept before its members are sent",
        source="app.backend.apply_chord(",
        ours="apply_chord",
    ),
    TouchPoint(
        "celery",
        "celery.canvas:group._apply_tasks",
        "worker/backend",
        "the size of a chord is known when its last member is sent",
        source="app.backend.set_chord_size(",
        ours="set_chord_size",
    ),
    TouchPoint(
        "kombu",
        "kombu.transport.virtual.base:QoS.restore_unacked_once",
        "worker/app",
        "a worker that has lost the broker does not put messages back",
        source="not self.channel.do_restore",
        ours="do_restore",
    ),
    TouchPoint(
        "kombu",
        "kombu.transport.redis:Channel.__init__",
        "worker/app",
        "answers of the broker are noted, which show that the worker consumes",
        source="self.handlers = {'BRPOP': self._brpop_read,",
        ours="BRPOP",
    ),
    TouchPoint(
        "kombu",
        "kombu.transport.redis:Channel._brpop_read",
        "worker/attempts",
        "what Redis returns is kept until it is decoded",
        source="self.client.parse_response(self.client.connection,",
        ours="parse_response",
    ),
    TouchPoint(
        "kombu",
        "kombu.transport.redis:MultiChannelPoller.maybe_check_brpop_health",
        "worker/sending",
        "a half-open connection is replaced after this many seconds",
        source="channel.brpop_timeout + channel.health_check_interval",
        ours="health_check_interval",
    ),
    TouchPoint(
        "kombu",
        "kombu.transport.redis:QoS.append",
        "worker/app",
        "a message that was delivered is moved by its tag",
        source=".hset(self.unacked_key, delivery_tag,",
        ours="unacked_key",
    ),
    TouchPoint(
        "kombu",
        "kombu.transport.virtual.base:Message.__init__",
        "worker/app",
        "a message is moved as kombu has received it",
        source="self._raw = payload",
        ours="_raw",
    ),
    TouchPoint(
        "kombu",
        "kombu.connection:Connection.drain_events",
        "worker/app",
        "gevent workers wait for messages for a short time only, by a replaced method of the transport",
        source="self.transport.drain_events(self.connection, **kwargs)",
    ),
    TouchPoint(
        "kombu",
        "kombu.utils.json:object_hook",
        "dispatch.py",
        "values that a worker could not read are refused",
        source='o.keys() == {"__type__", "__value__"}',
        ours="__type__",
    ),
    TouchPoint(
        "graphql-core",
        "graphql.execution:Executor.collect_and_execute_subfields"
        "(return_type, field_details_list, path, result, position_context)",
        "api/execution",
        "objects are planned",
        source="self.collect_subfields(return_type, field_details_list)",
    ),
    TouchPoint(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol.data_received",
        "server",
        "the upgrade is handed over from there",
        source="self.handle_websocket_upgrade()",
        ours="handle_websocket_upgrade",
    ),
    TouchPoint(
        "uvicorn",
        "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol.run_asgi()",
        "server",
        "the session runs inside the call of the application, whose errors are logged, and keeps no handshake",
        source="await self.app(self.scope, self.receive, self.send)",
        ours="_serve",
    ),
    TouchPoint(
        "uvicorn",
        "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol.receive()",
        "server",
        "our queue has the methods that uvicorn calls",
        source="message = await self.queue.get()\n        if self.read_paused and self.queue.empty():",
        ours="queue",
    ),
    TouchPoint(
        "uvicorn",
        "uvicorn.server:Server.shutdown(sockets)",
        "server",
        "subscriptions end before connections do",
        source="connection.shutdown()",
    ),
    TouchPoint(
        "websockets",
        "websockets.server:ServerProtocol.parse()",
        "server",
        "an open socket reads frames and no request",
        source="if self.state is CONNECTING:",
    ),
    TouchPoint(
        "redis",
        "redis.asyncio.connection:AbstractConnection.__init__(parser_class, ...)",
        "api/pubsub",
        "our parser is used",
        ours="parser_class",
    ),
    TouchPoint(
        "redis",
        "redis.connection:AbstractConnection.send_command",
        "worker/store",
        "events are sent without waiting for an answer",
        source="self.send_packed_command(",
    ),
]


_TOUCH_POINTS = [
    *_BEHAVIOUR,
    *(
        TouchPoint(package, f"{owner}{'.' if ':' in owner else ':'}{internal}", wing, reason)
        for (package, owner, wing), internals in _INTERNALS.items()
        for internal, reason in internals.items()
    ),
]


@pytest.mark.parametrize("point", _TOUCH_POINTS, ids=lambda point: f"{point.wing}:{point.path}")
def test_an_internal_is_as_we_know_it(point: TouchPoint) -> None:
    """The installed version has the internal, with the parameters and the behaviour that the code relies on."""
    problem = point.problem()
    assert problem is None, point.explain(problem or "")


@pytest.mark.parametrize("point", _TOUCH_POINTS, ids=lambda point: f"{point.wing}:{point.path}")
def test_an_internal_that_is_listed_is_used(point: TouchPoint) -> None:
    """Each line of the table names a wing that still uses the internal."""
    word = re.escape(point.word)
    assert re.search(rf"(?<!\w){word}(?!\w)", _text_of(point.wing)), (
        f"gql_api/{point.wing} does not use {point.path}: delete or move this line"
    )


@pytest.mark.parametrize(
    ("internal", "source", "problem"),
    [
        ("celery.nothing:Task", "", "is gone"),
        ("celery.app.task:Task.nothing", "", "is gone"),
        ("celery.app.task:Task.track_started()", "", "cannot be called"),
        ("celery.app.task:Task.on_replace(task)", "", "takes (sig) and not (task)"),
        ("celery.app.task:Task.on_replace()", "", "takes (sig) and not ()"),
        ("celery.app.task:Task.on_replace(sig, other, ...)", "", "takes (sig, ...) and not (sig, other, ...)"),
        ("celery.app.task:Task.on_replace(sig)", "xyz", "does not contain `xyz`"),
    ],
)
def test_a_changed_internal_is_found(internal: str, source: str, problem: str) -> None:
    """Each kind of check can fail."""
    assert TouchPoint("celery", internal, "adopt.py", "", source).problem() == problem


def test_a_failure_is_a_sentence_with_the_place_and_the_reason() -> None:
    """The person who raises a cap reads what changed, which wing depends on it, and why."""
    point = TouchPoint("celery", "celery.app.task:Task.nothing", "adopt.py", "tasks get it")
    assert point.explain("is gone") == (
        f"celery {version('celery')}: celery.app.task:Task.nothing is gone. gql_api/adopt.py depends on it: "
        "tasks get it. See docs/upgrading.md."
    )


def test_each_imported_package_is_declared() -> None:
    """Every package that gql_api imports is a dependency of its own in pyproject.toml."""
    providers = packages_distributions()
    imported = {name for path in ROOT.glob("gql_api/**/*.py") for name in _imports(path)} - {"gql_api"}
    needed = {canonicalize_name(providers[name][0]) for name in imported - set(sys.stdlib_module_names)}
    assert "celery" in needed
    assert needed - set(_declared()) == set()


@pytest.mark.parametrize("package", sorted({point.package for point in _TOUCH_POINTS}))
def test_a_package_whose_internals_are_used_is_capped(package: str) -> None:
    """The next minor version is not installed before somebody has raised the cap, and this one may be."""
    allowed = _declared()[package]
    installed = Version(version(package))
    assert installed in allowed
    assert Version(f"{installed.major}.{installed.minor + 1}") not in allowed


@pytest.mark.parametrize("package", sorted({point.package for point in _TOUCH_POINTS}))
def test_the_guide_to_upgrades_names_the_wings(package: str) -> None:
    """docs/upgrading.md lists, for each package, exactly the wings that rely on it."""
    lines = (ROOT / "docs" / "upgrading.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith(f"| {package} |")]
    wings = {point.wing for point in _TOUCH_POINTS if point.package == package}
    assert set(re.findall(r"`([^`]+)`", row.split("|")[2])) == wings


@cache
def _text_of(wing: str) -> str:
    path = ROOT / "gql_api" / wing
    files = [path] if path.is_file() else sorted(path.glob("**/*.py"))
    return "\n".join(file.read_text() for file in files)


@cache
def _declared() -> dict[str, SpecifierSet]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(line) for line in project["dependencies"]]
    return {canonicalize_name(requirement.name): requirement.specifier for requirement in requirements}


def _imports(path: Path) -> set[str]:
    """Return the top-level names that a file imports, those for type checkers included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}
