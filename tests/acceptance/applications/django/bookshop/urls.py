"""The addresses of the project."""

from django.urls import path
from orders import views

urlpatterns = [
    path("orders", views.create_order),
    path("orders/<int:order_id>", views.show_order),
    path("reports", views.create_report),
    path("reports/<str:task_id>", views.show_report),
]
