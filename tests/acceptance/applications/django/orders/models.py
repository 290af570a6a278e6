"""The models of the Django app."""

from django.core.validators import MinValueValidator
from django.db import models


class Order(models.Model):
    """Some copies of a book; a task calculates the total."""

    title = models.CharField(max_length=100)
    copies = models.IntegerField(validators=[MinValueValidator(1)])
    total = models.FloatField(null=True, blank=True)
    task_id = models.CharField(max_length=100, blank=True)
    priced = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.copies} x {self.title}"
