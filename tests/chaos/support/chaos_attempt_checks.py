"""The checks of attempts: what each of them left in the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from chaos_evidence import Check, Evidence

from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord


def attempts_are_single(evidence: Evidence) -> Iterator[str]:
    """No two runs are the same attempt, and the outcome is that of the last attempt."""
    for task_id, runs in evidence.runs_of.items():
        for attempt, count in Counter(run.attempt for run in runs).items():
            if count > 1:
                yield f"{count} runs of {task_id} are attempt {attempt}"
        record = evidence.records.get(task_id)
        if record is None:
            continue
        yield from (
            f"{run} began, but the record has {record.attempts} attempts"
            for run in runs
            if run.attempt > record.attempts
        )
        if record.status is Status.SUCCESS and isinstance(record.result, dict):
            token = record.result.get("token")
            last = [run for run in runs if run.token == token and run.ended is not None]
            if not last or last[0].attempt != record.attempts:
                yield f"the result of {task_id} is of the run {token}, not of attempt {record.attempts}"


def effects_are_exact(evidence: Evidence) -> Iterator[str]:
    """The metadata has each change that a run saw acknowledged, and each only once."""
    for record in evidence.records.values():
        effects = effects_of(record)
        runs = {run.token: run for run in evidence.runs_of.get(record.id, [])}
        if record.metadata.get("ticks", 0) != len(effects):
            yield f"{record.id} counts {record.metadata.get('ticks', 0)} effects and has {len(effects)}"
        yield from (f"{record.id} has the effect {each} {n} times" for each, n in Counter(effects).items() if n > 1)
        for _, token, step in effects:
            if token not in runs or step not in runs[token].tried:
                yield f"{record.id} has the effect {step} of {token}, which that run did not make"
        for run in runs.values():
            missing = [step for step in run.done if (run.attempt, run.token, step) not in effects]
            if missing:
                yield f"the effects {missing} of {run} were acknowledged and are missing"


def attempts_do_not_mix(evidence: Evidence) -> Iterator[str]:
    """An attempt has no effect once a later one has begun."""
    for record in evidence.records.values():
        effects = effects_of(record)
        if effects != sorted(effects, key=lambda effect: effect[0]):
            yield f"the effects of {record.id} are those of several attempts at once: {effects}"
    for runs in evidence.runs_of.values():
        for run in runs:
            later = min((each.began for each in runs if each.attempt > run.attempt), default=None)
            late = [step for step in run.done if later is not None and run.tried[step] > later]
            if late:
                yield f"the effects {late} of {run} were accepted after a later attempt had begun"


def effects_of(record: TaskRecord) -> list[tuple[Any, ...]]:
    """Return the effects in the metadata of a task: attempt, token and step of each."""
    return [tuple(effect) for effect in record.metadata.get("effects", [])]


def logs_are_complete(evidence: Evidence) -> Iterator[str]:
    """A log has all lines of the attempt that succeeded, no line twice, and no attempt after a later one."""
    for task_id, lines in evidence.logs.items():
        record = evidence.records.get(task_id)
        if record is None:
            continue
        yield from (
            f"the log of {task_id} has the line {line!r} {n} times" for line, n in Counter(lines).items() if n > 1
        )
        attempts = [int(line.partition(" ")[0]) for line in lines]
        if attempts != sorted(attempts):
            yield f"the log of {task_id} mixes attempts: {attempts}"
        if record.status is Status.SUCCESS and isinstance(record.result, dict):
            token, count = record.result.get("token"), record.kwargs.get("lines", 0)
            own = [line for line in lines if f" {token} " in line]
            if own != [f"{record.attempts} {token} {step}" for step in range(count)]:
                yield f"the log of {task_id} has {len(own)} of {count} lines of its last attempt: {own}"


CHECKS: tuple[Check, ...] = (
    attempts_are_single,
    effects_are_exact,
    attempts_do_not_mix,
    logs_are_complete,
)
