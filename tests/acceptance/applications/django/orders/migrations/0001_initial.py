"""The tables of the models."""

from django.core.validators import MinValueValidator
from django.db import migrations, models


class Migration(migrations.Migration):
    """The first migration."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("title", models.CharField(max_length=100)),
                ("copies", models.IntegerField(validators=[MinValueValidator(1)])),
                ("total", models.FloatField(blank=True, null=True)),
                ("task_id", models.CharField(blank=True, max_length=100)),
                ("priced", models.IntegerField(default=0)),
            ],
        ),
    )
