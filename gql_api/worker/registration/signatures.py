"""Definitions of task functions, made in workers only: Pydantic describes the parameters of their signatures."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Sequence
from dataclasses import replace
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

import celery
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind

from gql_api.dispatch import TRANSPORT_OPTIONS
from gql_api.record.fields import is_internal
from gql_api.registry.definitions import TaskDefinition
from gql_api.registry.formats import PYTHON_TYPE
from gql_api.registry.versions import digest_of
from gql_api.worker.backend.messages import queue_of
from gql_api.worker.state.unrecorded import is_unrecorded_function
from gql_api.worker.store.redactions import redaction_of

if TYPE_CHECKING:
    from celery import Celery

_BY_POSITION = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}


class _JsonSchema(GenerateJsonSchema):
    # A default that JSON cannot express is left out of the schema, without a warning.
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012
    _models = 0

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a model, which converts its values itself."""
        self._models += 1
        try:
            return super().model_schema(schema)
        finally:
            self._models -= 1

    def date_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a date."""
        return self._marked("date", super().date_schema(schema))

    def datetime_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a date with a time."""
        return self._marked("datetime", super().datetime_schema(schema))

    def time_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a time of day."""
        return self._marked("time", super().time_schema(schema))

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a decimal number, which may be a text."""
        described = super().decimal_schema(schema)
        if not self._models:
            for option in described.get("anyOf", []):
                if option.get("type") == "string":
                    option["format"] = "decimal"
        return self._marked("decimal", described)

    def uuid_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe a UUID."""
        return self._marked("uuid", super().uuid_schema(schema))

    def bytes_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe bytes, which are a text in Base64 except in models."""
        described = super().bytes_schema(schema)
        return described if self._models else self._marked("bytes", {"type": "string", "format": "base64"})

    def encode_default(self, dft: Any) -> Any:
        """Return a default as a client would send it."""
        if isinstance(dft, bytes) and not self._models:
            return base64.b64encode(dft).decode()
        return super().encode_default(dft)

    def _marked(self, python_type: str, described: JsonSchemaValue) -> JsonSchemaValue:
        return described if self._models else {**described, PYTHON_TYPE: python_type}


def definitions_of(app: Celery) -> list[TaskDefinition]:
    """Return the definitions of all task functions of an app except Celery's internal ones, by name."""
    return [define(app.tasks[name], app) for name in sorted(app.tasks) if not is_internal(name)]


def define(task: celery.Task, app: Celery) -> TaskDefinition:
    """Return the definition of one task function: signature, docstring, queue and limits."""
    signature = define_signature(task)
    queue, priority = _destination(task, app)
    redaction = redaction_of(task)
    return replace(
        signature,
        description=inspect.cleandoc(task.run.__doc__) if task.run.__doc__ else None,
        queue=queue,
        priority=priority,
        transport=_transport(app),
        recorded=not is_unrecorded_function(app, task.name),
        max_retries=task.max_retries,
        time_limit=getattr(task, "hard_time_limit", None) or task.time_limit or app.conf.task_time_limit,
        soft_time_limit=getattr(task, "own_soft_time_limit", None)
        or task.soft_time_limit
        or app.conf.task_soft_time_limit,
        redact=() if redaction is None else redaction.entries,
    )


def define_signature(task: celery.Task) -> TaskDefinition:
    """Return the definition of one task function without anything but its signature."""
    parameters = list(_signature(task).parameters.values())
    schema = input_schema(parameters)
    positional = tuple(p.name for p in parameters if p.kind in _BY_POSITION)
    positional_only = sum(p.kind is Parameter.POSITIONAL_ONLY for p in parameters)
    extra_args = any(p.kind is Parameter.VAR_POSITIONAL for p in parameters)
    return TaskDefinition(
        name=task.name,
        input_schema=schema,
        positional=positional,
        positional_only=positional_only,
        extra_args=extra_args,
        digest=digest_of(task.name, schema, positional, positional_only, extra_args),
    )


def input_schema(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the parameters as the properties of one object.

    A parameter without an annotation takes any value, like one whose annotation JSON Schema cannot express.
    """
    named = [p for p in parameters if p.kind not in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}]
    generated = _generate([p if _is_expressible(p) else p.replace(annotation=Any) for p in named])
    for schema in generated["properties"].values():
        schema.pop("title", None)
    # As Python calls the function: without Pydantic, Field(default=...) in an annotation is not a default.
    required = [p.name for p in named if p.default is Parameter.empty]
    return {
        "type": "object",
        "properties": generated["properties"],
        "additionalProperties": any(p.kind is Parameter.VAR_KEYWORD for p in parameters),
        **({"required": required} if required else {}),
        **({"$defs": generated["$defs"]} if "$defs" in generated else {}),
    }


def _is_expressible(parameter: Parameter) -> bool:
    try:
        _generate([parameter])
    except Exception:  # noqa: BLE001 - whatever an annotation makes Pydantic raise, the task is announced without it
        return False
    return True


def _generate(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Let Pydantic describe a function that takes the parameters by name, which is the only way to an object schema."""

    def call() -> None: ...

    function: Any = call
    function.__signature__ = Signature([p.replace(kind=Parameter.KEYWORD_ONLY) for p in parameters])
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return TypeAdapter(function).json_schema(by_alias=False, schema_generator=_JsonSchema)


def _signature(task: celery.Task) -> inspect.Signature:
    try:
        return inspect.signature(task.run, eval_str=True)
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything
        # An annotation that exists only for type checkers: the names of the parameters are still known.
        signature = inspect.signature(task.run)
        unknown = [p.replace(annotation=Parameter.empty) for p in signature.parameters.values()]
        return signature.replace(parameters=unknown)


def _destination(task: celery.Task, app: Celery) -> tuple[str, int]:
    """Return the queue and the priority with which the application sends a task by default."""
    own = {name: value for name in ("queue", "priority") if (value := getattr(task, name, None)) is not None}
    route = {**app.amqp.router.route({}, task.name), **own}
    # A queue can be given as kombu's object, and a route can name an exchange instead.
    queue, exchange = (getattr(route.get(name), "name", route.get(name)) for name in ("queue", "exchange"))
    priority = route.get("priority")
    return (
        queue_of(app, queue, exchange, route.get("routing_key")),
        int((app.conf.task_default_priority if priority is None else priority) or 0),
    )


def _transport(app: Celery) -> tuple[tuple[str, str], ...]:
    options = app.conf.broker_transport_options
    return tuple((name, str(options[name])) for name in TRANSPORT_OPTIONS if options.get(name))
