"""The checks of what happened to tasks: outcomes, retries, replacements and times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from chaos_evidence import Check, Evidence, function_of
from chaos_runs import Run

from gql_api.record.fields import Status
from gql_api.record.reads import TaskRecord

# Times of the database are in milliseconds, and a process may write its line late, but never early.
_TOLERANCE_SECONDS = 0.3
# A process may be frozen between the two times.
_LIFETIME_TOLERANCE_SECONDS = 60.0
_REPLACED = "Ignore: Replaced by"


def all_are_final(evidence: Evidence) -> Iterator[str]:
    """Each acknowledged task has a record, and each record is final."""
    deleted = evidence.ledger.deletions
    sent = {each.id: f"sent by {run}" for run in evidence.runs for each in run.sent}
    acknowledged = {**sent, **{id_: f"created ({order.kind})" for id_, order in evidence.ledger.orders.items()}}
    for task_id, origin in acknowledged.items():
        if task_id not in evidence.records and task_id not in deleted:
            yield f"{task_id} has no record: {origin}"
    for record in evidence.records.values():
        if not record.is_final:
            yield f"{record.id} ({function_of(record)}) is still {record.status} after {record.attempts} attempts"


def outcomes_are_right(evidence: Evidence) -> Iterator[str]:
    """Each task has the outcome that its function and its arguments lead to, or was cancelled or expired."""
    for record in evidence.records.values():
        problem = _wrong_outcome(evidence, record) if record.is_final else None
        if problem:
            yield f"{record.id} ({function_of(record)}) is {record.status}: {problem}"
    for run in evidence.runs:
        for sent in run.sent:
            found = evidence.records.get(sent.id)
            if found is not None and found.status is Status.SUCCESS and _value(found) != sent.value:
                yield f"{sent.id} has the value {_value(found)}, not {sent.value}: sent by {run}"


def _wrong_outcome(evidence: Evidence, record: TaskRecord) -> str | None:
    fails = bool(record.kwargs.get("fail"))
    if record.status is Status.REVOKED:
        expired = record.expires_at is not None and (record.finished_at or record.expires_at) >= record.expires_at
        return None if evidence.may_be_cancelled(record) or expired else "nobody has cancelled it"
    if record.status is Status.FAILURE:
        return _wrong_failure(evidence, record, "ValueError" if fails else None)
    expected = _expected_value(record)
    if fails or _value(record) != expected:
        return f"the value is {_value(record)}, not {'a failure' if fails else expected}"
    return None


def _wrong_failure(evidence: Evidence, record: TaskRecord, expected: str | None) -> str | None:
    kind, message = (record.error.type, record.error.message) if record.error else (None, None)
    lost_processes = record.lost_attempts + 1 >= evidence.max_lost_attempts
    lost_workers = record.lost_workers + 1 >= evidence.max_lost_workers
    was_lost_often = kind == "WorkerLostError" and (lost_processes or lost_workers)
    return None if kind == expected or was_lost_often else f"{kind}: {message}"


def _value(record: TaskRecord) -> Any:
    return record.result.get("value") if isinstance(record.result, dict) else record.result


def _expected_value(record: TaskRecord) -> Any:
    args, kwargs = record.args, record.kwargs
    values: dict[str, Callable[[], Any]] = {
        "work": lambda: kwargs.get("value", args[1] if len(args) > 1 else None),
        "retrying": lambda: kwargs["times"],
        "replaced": lambda: kwargs["value"],
        "plus": lambda: args[0]["value"] + kwargs["more"],
        "total": lambda: sum(part["value"] for part in args[0]),
        "until_cancelled": lambda: "was not cancelled",
    }
    return values.get(function_of(record), lambda: None)()


def retries_are_on_time(evidence: Evidence) -> Iterator[str]:
    """No retry begins before its time, and none that another run had asked for begins again."""
    for record in evidence.records.values():
        if function_of(record) == "retrying":
            runs = evidence.runs_of.get(record.id, [])
            for run in runs:
                problem = _wrong_retry(run, runs, record.kwargs["times"], record.kwargs["countdown"])
                if problem:
                    yield f"{run}, retry {run.retries}: {problem}"


def _wrong_retry(run: Run, runs: list[Run], times: int, countdown: float) -> str | None:
    if run.retries > times:
        return f"only {times} were asked for"
    if any(each.attempt < run.attempt and each.retries > run.retries for each in runs):
        return "an attempt before it was a later retry"
    for each in runs:
        if each.retries == run.retries and each.has_raised("Retry") and each.raised and each.raised[0] < run.began:
            return f"it began after {each} had asked for the next one"
    if run.retries == 0:
        return None
    asked = [each.asked for each in runs if each.retries == run.retries - 1 and each.asked is not None]
    if not asked:
        return "nobody asked for it"
    early = min(asked) + countdown - run.began
    return f"it began {early:.2f} s too early" if early > _TOLERANCE_SECONDS else None


def replaced_functions_stay_replaced(evidence: Evidence) -> Iterator[str]:
    """A function that was replaced does not run again."""
    for record in evidence.records.values():
        if function_of(record) != "replaced":
            continue
        runs = evidence.runs_of.get(record.id, [])
        for run in runs:
            if run.function != "replaced":
                continue
            if any(each.function != "replaced" and each.attempt < run.attempt for each in runs):
                yield f"{run} began after its replacement"
            for each in runs:
                if each.has_raised(_REPLACED) and each.raised and each.raised[0] < run.began:
                    yield f"{run} began after {each} was replaced"


def nothing_starts_early(evidence: Evidence) -> Iterator[str]:
    """No task starts before its time, and none expires before its time."""
    earliest = {id_: order.asked + order.delay for id_, order in evidence.ledger.orders.items() if order.delay}
    for run in evidence.runs:
        for sent in run.sent:
            if sent.countdown is not None and sent.since is not None:
                earliest[sent.id] = sent.since + sent.countdown
    for task_id, time in earliest.items():
        for run in evidence.runs_of.get(task_id, []):
            if time - run.began > _TOLERANCE_SECONDS:
                yield f"{run} began {time - run.began:.2f} s too early"
    lifetimes = {id_: order.expires for id_, order in evidence.ledger.orders.items()}
    lifetimes |= {sent.id: sent.expires for run in evidence.runs for sent in run.sent}
    for task_id, seconds in lifetimes.items():
        record = evidence.records.get(task_id)
        if seconds is None or record is None or record.expires_at is None:
            continue
        stored = (record.expires_at - record.created_at).total_seconds()
        if abs(stored - seconds) > _LIFETIME_TOLERANCE_SECONDS:
            yield f"{task_id} expires {stored:.1f} s after its creation, not {seconds:.1f} s"


CHECKS: tuple[Check, ...] = (
    all_are_final,
    outcomes_are_right,
    retries_are_on_time,
    replaced_functions_stay_replaced,
    nothing_starts_early,
)
