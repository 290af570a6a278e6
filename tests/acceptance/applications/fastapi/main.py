"""The FastAPI application: synchronous endpoints, which run in threads."""

from typing import Annotated, Any

from celery.result import AsyncResult
from fastapi import Body, FastAPI
from fastapi.responses import JSONResponse
from worker import create_task

app = FastAPI()


@app.post("/tasks", status_code=201)
def run_task(payload: Annotated[dict[str, Any], Body()]) -> JSONResponse:
    """Start a task and return its id."""
    task = create_task.delay(int(payload["type"]))
    return JSONResponse({"task_id": task.id})


@app.get("/tasks/{task_id}")
def get_status(task_id: str) -> JSONResponse:
    """Return the state of a task, and its result."""
    task_result = AsyncResult(task_id)
    result = {"task_id": task_id, "task_status": task_result.status, "task_result": task_result.result}
    return JSONResponse(result)
