"""The server keeps to its own OpenAPI, whatever is sent to it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from serve.conftest import app_of

PATHS = ["/", "/healthz", "/metrics", "/model", "/predict"]


@pytest.fixture
def schema(model):
    app = app_of(model, key="the key")
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers={"X-API-Key": "the key"})


def test_every_address_is_described(schema):
    assert sorted(one.ok().path for one in schema.get_all_operations()) == PATHS


@pytest.mark.parametrize("path, mode", [*((path, "positive") for path in PATHS), ("/predict", "negative")])
def test_every_answer_is_as_it_is_described(schema, path, mode):
    (operation,) = (one.ok() for one in schema.get_all_operations() if one.ok().path == path)

    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def answered(case):
        case.call_and_validate(headers={"X-API-Key": "the key"})

    answered()
