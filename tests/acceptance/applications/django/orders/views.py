"""The views of the Django app."""

import json

from celery.result import AsyncResult
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from orders.models import Order
from orders.tasks import count_copies, price_order


@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """Store an order, and send its task when the transaction is committed."""
    wanted = json.loads(request.body)
    try:
        with transaction.atomic():
            order = Order.objects.create(title=wanted["title"], copies=wanted["copies"])
            if wanted["delay"]:
                price_order.apply_async_on_commit((order.pk,), countdown=wanted["delay"])
            else:
                price_order.delay_on_commit(order.pk)
            order.full_clean()
    except ValidationError as error:
        return JsonResponse(error.message_dict, status=400)
    return JsonResponse({"id": order.pk}, status=201)


def show_order(_request: HttpRequest, order_id: int) -> JsonResponse:
    """Show an order with the total that its task has stored."""
    order = get_object_or_404(Order, pk=order_id)
    return JsonResponse({"total": order.total, "task_id": order.task_id, "priced": order.priced})


@require_POST
def create_report(_request: HttpRequest) -> JsonResponse:
    """Start a task whose result is read later."""
    return JsonResponse({"task_id": count_copies.delay().id}, status=201)


def show_report(_request: HttpRequest, task_id: str) -> JsonResponse:
    """Show the state of a task, and its result."""
    report = AsyncResult(task_id)
    return JsonResponse({"status": report.status, "result": report.result})
