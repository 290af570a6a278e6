"""The settings that an adopted application gets, and those that it keeps."""

from __future__ import annotations

import pytest
from celery import Celery

from gql_api.adopt import adopt


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, {"socket_timeout": 3.0, "health_check_interval": 5}), ({"socket_timeout": 30}, {"socket_timeout": 30})],
)
def test_an_application_keeps_its_own_options_for_its_broker(own: dict[str, int], expected: dict[str, float]) -> None:
    """Timeouts are set where the application sets none; the lists of priorities are those of the API."""
    app = adopt(Celery("shop", set_as_current=False))
    app.conf.broker_transport_options = own
    options = app.conf.broker_transport_options
    assert expected.items() <= options.items()
    assert options["priority_steps"] == list(range(10))
