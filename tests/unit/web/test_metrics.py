"""The metrics page."""

import pytest
from prometheus_client import CollectorRegistry, Counter

from server.web.metrics import metrics_app
from tests.unit.web.browser import client_of

REGISTRY = CollectorRegistry()
Counter("calls", "Calls.", registry=REGISTRY).inc(3)


async def test_metrics_are_text_by_default() -> None:
    async with client_of(metrics_app(REGISTRY)) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "calls_total 3.0" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_scraper_may_ask_for_openmetrics() -> None:
    async with client_of(metrics_app(REGISTRY)) as client:
        answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz", "/v1/developer/keys"])
async def test_there_is_nothing_else_on_the_metrics_port(path: str) -> None:
    async with client_of(metrics_app(REGISTRY)) as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "ERROR_CODE_NOT_FOUND")


async def test_metrics_can_only_be_read() -> None:
    async with client_of(metrics_app(REGISTRY)) as client:
        answer = await client.post("/metrics")
        head = await client.head("/metrics")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (head.status_code, head.content) == (200, b"")
