"""The tasks of the Flask application."""

from celery import shared_task
from flask import current_app


@shared_task(ignore_result=False)
def add_prices(a: float, b: float) -> str:
    """Add two prices, in the currency of the application."""
    return f"{a + b:.2f} {current_app.config['CURRENCY']}"


@shared_task
def forget(number: int) -> int:
    """Return a number that nobody needs: the application ignores results by default."""
    return number
