"""A task whose name, log and error are markup."""

from __future__ import annotations

from celery import shared_task

from gql_api.worker.app.task import Task

MARKUP = '<img src=x onerror="document.title=`hacked`"><script>document.title="hacked"</script>'
"""A text that would change the title of a page which takes it for HTML."""


@shared_task(bind=True, name=MARKUP)
def markup(self: Task, text: str) -> str:
    """Log a text that looks like HTML, and fail with it."""
    self.log(text)
    self.report_progress(1, 2, text)
    raise ValueError(text)
