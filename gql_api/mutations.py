"""The mutations."""

from __future__ import annotations

from typing import Self

import strawberry
from strawberry import UNSET

from gql_api.context import Info
from gql_api.creation import InvalidInputError, TaskInput, UnknownTaskNameError
from gql_api.errors import TaskErrorCode, UserError
from gql_api.scalars import JSON, given
from gql_api.tasks import Task
from jobs.values import Problem


@strawberry.input(description="A task to be run.")
class CreateTaskInput:
    """The input of createTask."""

    name: str = strawberry.field(description="One of taskDefinitions.")
    args: JSON | None = strawberry.field(default=UNSET, description="Positional arguments: a JSON array.")
    kwargs: JSON | None = strawberry.field(default=UNSET, description="Keyword arguments: a JSON object.")
    metadata: JSON | None = strawberry.field(default=UNSET, description="A JSON object of your own.")

    def wanted(self) -> TaskInput:
        """The same with defaults for what was left out."""
        return TaskInput(
            name=self.name,
            args=given(self.args, JSON([])),
            kwargs=given(self.kwargs, JSON({})),
            metadata=given(self.metadata, JSON({})),
        )


@strawberry.type
class CreateTaskPayload:
    """The created task, or why there is none."""

    task: Task | None = None
    created: bool = strawberry.field(default=False, description="False when nothing new was created.")
    user_errors: list[UserError] = strawberry.field(default_factory=list)

    @classmethod
    def refused(cls, *errors: UserError) -> Self:
        """Nothing was created."""
        return cls(user_errors=list(errors))


@strawberry.type
class Mutation:
    """Change something."""

    @strawberry.mutation(description="Store a task and send it to the workers.")
    async def create_task(self, info: Info, input: CreateTaskInput) -> CreateTaskPayload:  # noqa: A002 - the schema's
        """Create one task."""
        try:
            record = await info.context.services.creator.create(input.wanted())
        except UnknownTaskNameError:
            return CreateTaskPayload.refused(_unknown_name(input.name))
        except InvalidInputError as error:
            return CreateTaskPayload.refused(*map(_user_error, error.problems))
        return CreateTaskPayload(task=Task.of(record), created=True)


def _unknown_name(name: str) -> UserError:
    message = f"No worker has announced a task named {name!r}; taskDefinitions lists those there are"
    return UserError(code=TaskErrorCode.UNKNOWN_TASK_NAME, message=message, field=["input", "name"])


def _user_error(problem: Problem) -> UserError:
    path = [str(part).encode("utf-8", "backslashreplace").decode() for part in problem.path]
    too_large = problem.too_large and problem.path[0] == "metadata"
    return UserError(
        code=TaskErrorCode.METADATA_TOO_LARGE if too_large else TaskErrorCode.INVALID_INPUT,
        message=f"{'.'.join(path)}: {problem.message}",
        field=["input", *path],
    )
