"""The views of the Flask application."""

from celery.result import AsyncResult
from flask import Blueprint, request

from . import tasks

bp = Blueprint("tasks", __name__)


@bp.post("/add")
def start_add() -> dict[str, object]:
    """Start a task and return its id."""
    wanted = request.get_json()
    result = tasks.add_prices.apply_async((wanted["a"], wanted["b"]), priority=wanted["priority"])
    return {"result_id": result.id}


@bp.post("/forget")
def start_forget() -> dict[str, object]:
    """Start a task without a result."""
    return {"result_id": tasks.forget.apply_async((7,), headers={"metadata": {"from": "flask"}}).id}


@bp.get("/result/<result_id>")
def task_result(result_id: str) -> dict[str, object]:
    """Return the result of a task."""
    result = AsyncResult(result_id)
    return {
        "ready": result.ready(),
        "successful": result.successful(),
        "value": result.result if result.ready() else None,
    }
