"""What a task function takes, read from its signature by Pydantic: the making of a definition, in workers only."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from inspect import Parameter
from typing import TYPE_CHECKING, Any

import celery
from pydantic import ConfigDict, PydanticUserError, create_model
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from jobs.definitions import TaskDefinition

if TYPE_CHECKING:
    from celery import Celery

_BY_POSITION = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
_INTERNAL = "celery."


class _Schema(GenerateJsonSchema):
    # A default that JSON has no word for is left out of the schema; that is no reason to warn.
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def definitions_of(app: Celery) -> list[TaskDefinition]:
    """Describe every task function of an app but Celery's internal ones, by name."""
    tasks: Iterable[celery.Task] = (app.tasks[name] for name in sorted(app.tasks))
    return [define(task, app) for task in tasks if not task.name.startswith(_INTERNAL)]


def define(task: celery.Task, app: Celery) -> TaskDefinition:
    """Describe one task function: signature, docstring, queue and limits."""
    parameters = list(_signature(task).parameters.values())
    return TaskDefinition(
        name=task.name,
        description=inspect.cleandoc(task.run.__doc__) if task.run.__doc__ else None,
        input_schema=input_schema(parameters),
        positional=tuple(p.name for p in parameters if p.kind in _BY_POSITION),
        extra_args=any(p.kind is Parameter.VAR_POSITIONAL for p in parameters),
        queue=_queue(task, app),
        max_retries=task.max_retries,
        time_limit=task.time_limit or app.conf.task_time_limit,
        soft_time_limit=task.soft_time_limit or app.conf.task_soft_time_limit,
    )


def input_schema(parameters: Iterable[Parameter]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the parameters as the properties of one object.

    A parameter without an annotation takes anything, and so does one whose annotation JSON Schema cannot express.
    """
    schema: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
    required = []
    for parameter in parameters:
        if parameter.kind is Parameter.VAR_KEYWORD:
            schema["additionalProperties"] = True
        elif parameter.kind is not Parameter.VAR_POSITIONAL:
            own, shared = _property(parameter)
            schema["properties"][parameter.name] = own
            if shared:
                schema.setdefault("$defs", {}).update(shared)
            if parameter.default is Parameter.empty:
                required.append(parameter.name)
    return {**schema, "required": required} if required else schema


def _property(parameter: Parameter) -> tuple[dict[str, Any], dict[str, Any]]:
    annotation = Any if parameter.annotation is Parameter.empty else parameter.annotation
    default = ... if parameter.default is Parameter.empty else parameter.default
    try:
        schema = _model_schema(annotation, default)
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema, PydanticUserError, TypeError):
        schema = _model_schema(Any, default)
    own = schema["properties"]["value"]
    own.pop("title", None)
    return own, schema.get("$defs", {})


def _model_schema(annotation: Any, default: Any) -> dict[str, Any]:
    """The field has a neutral name: a parameter may be called what Pydantic keeps for itself, ``schema`` or ``_x``."""
    field = default if isinstance(default, FieldInfo) else FieldInfo(default=default)
    config = ConfigDict(arbitrary_types_allowed=False)
    model = create_model("Parameters", __config__=config, value=(annotation, field))
    return model.model_json_schema(schema_generator=_Schema)


def _signature(task: celery.Task) -> inspect.Signature:
    try:
        return inspect.signature(task.run, eval_str=True)
    except NameError:
        # An annotation that only exists for type checkers: the names of the parameters still say most of it.
        signature = inspect.signature(task.run)
        unknown = [p.replace(annotation=Parameter.empty) for p in signature.parameters.values()]
        return signature.replace(parameters=unknown)


def _queue(task: celery.Task, app: Celery) -> str:
    own = getattr(task, "queue", None)
    if own:
        return str(own)
    route = app.amqp.router.route({}, task.name)
    return str(route["queue"].name)
