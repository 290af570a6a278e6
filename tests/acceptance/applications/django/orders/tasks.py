"""The tasks of the Django app."""

from typing import Any

from celery import shared_task

from orders.models import Order


@shared_task(bind=True)
def price_order(self: Any, order_id: int) -> float:
    """Calculate the total of an order, and count that."""
    order = Order.objects.get(pk=order_id)
    order.total = 9.5 * order.copies
    order.task_id = self.request.id
    order.priced += 1
    order.save()
    return float(order.total)


@shared_task
def count_copies() -> int:
    """Count the copies in all orders."""
    return sum(order.copies for order in Order.objects.all())
