"""The configuration of the Django app."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """The orders of the bookshop."""

    name = "orders"
