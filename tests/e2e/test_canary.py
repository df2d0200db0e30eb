"""No secret, token or request id is left anywhere: not in a log line, an error, a metric or the database."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import structlog

from server import logs
from server.postgres.pool import Database
from tests.e2e.clients import Answer, Client
from tests.e2e.conftest import client_of
from tests.service import serving


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """What returns everything logged, at every level, as the real configuration writes it."""
    buffer = BytesIO()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    stderr = TextIOWrapper(buffer)  # held until the end: it closes the buffer when it goes
    monkeypatch.setattr(sys, "stderr", stderr)
    writer = logs.configure(logging.DEBUG)
    root.setLevel(logging.DEBUG)
    structlog.configure(cache_logger_on_first_use=False)

    def written() -> str:
        writer.close(timeout=10)
        return buffer.getvalue().decode()

    yield written
    writer.close()
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
    stderr.detach()


@dataclass
class Flow:
    """What was sent that must stay between caller and server, and the errors that came back."""

    client: Client
    secrets: list[str] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    errors: list[Answer] = field(default_factory=list)

    def request_id(self) -> str:
        self.request_ids.append(str(uuid4()))
        return self.request_ids[-1]

    async def issue(self, method: str, **request: Any) -> dict[str, Any]:
        answer = await self.client.get(method, requestId=self.request_id(), **request)
        self.secrets.append(answer["secret"])
        return answer

    async def err(self, method: str, headers: list[tuple[str, str]] | None = None, **request: Any) -> None:
        answer = await self.client.call(method, request, headers=headers or [])
        assert answer.code != "OK"
        self.errors.append(answer)


async def _use_everything(flow: Flow) -> None:
    """Call every method well and badly, with credentials in places where they do not belong."""
    key = (await flow.issue("CreateApiKey", name="a", scopes=["read"]))["apiKey"]["id"]
    await flow.issue("RotateApiKey", id=key)
    await flow.issue("RotateApiKey", id=key, expirePreviousNow=True)
    await flow.client.get("GetApiKey", id=key)
    await flow.client.get("ListApiKeys")
    await flow.client.get("UpdateApiKey", id=key, name="b")
    used, secret, token = flow.request_ids[0], flow.secrets[0], flow.client.token
    await flow.err("CreateApiKey", name="other", scopes=["read"], requestId=used)
    await flow.err(
        "CreateApiKey", [("idempotency-key", used)], name="a", scopes=["read"], requestId=flow.request_ids[1]
    )
    await flow.err("CreateApiKey", [("idempotency-key", f"{used}-{used}")], name="a", scopes=["read"])
    await flow.err("CreateApiKey", name="a", scopes=[secret, token], requestId=f"{used}x", expiresAt=secret[:40])
    await flow.err("CreateApiKey", name=secret + "x" * 60, scopes=["read"])
    await flow.err("GetApiKey", id=secret)
    await flow.err("GetApiKey", id=token[:100])
    await flow.err("GetApiKey", id=token)
    await flow.err("ListApiKeys", pageToken=secret)
    await flow.err("ListApiKeys", pageToken=token)
    await flow.err("ListApiKeys", [("x-api-key", secret)])
    await flow.err("ListApiKeys", [("authorization", f"Bearer {token}")])
    await flow.err("RevokeApiKey", id=secret)
    await flow.err("RotateApiKey", id=secret, requestId=flow.request_id())
    stranger = Flow(client=flow.client.bearing(token[:-6] + "AAAAAA"), errors=flow.errors)
    await stranger.err("ListApiKeys")
    stranger.client = flow.client.bearing(secret)
    await stranger.err("ListApiKeys")
    await flow.client.get("RevokeApiKey", id=key)
    await flow.err("RotateApiKey", id=key, requestId=flow.request_id())
    await flow.err("UpdateApiKey", id=key, name="c")


async def _dump(database_url: str) -> str:
    """Write out every row of every table, bytes in hexadecimal."""
    database = Database(database_url)
    await database.open()
    tables = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [
        row["text"]
        for table in tables
        for row in await database.fetch(f'SELECT t::text AS text FROM "{table["tablename"]}" t')
    ]
    await database.close()
    return "\n".join(rows)


def _traces(flow: Flow) -> list[str]:
    """Name what must not be found, also in the hexadecimal of a dump."""
    signature = flow.client.token.rpartition(".")[2]
    tails = [secret[-49:] for secret in flow.secrets]
    plain = [*flow.secrets, *tails, *flow.request_ids, flow.client.token, signature, signature[:60]]
    return [*plain, *(text.encode().hex() for text in plain)]


async def test_nothing_secret_is_left_behind(
    database_url: str, data_dir: Path, protocol: str, log: Callable[[], str]
) -> None:
    async with serving(database_url, data_dir) as service, client_of(service, protocol) as client:
        flow = Flow(client=client)
        await _use_everything(flow)
        async with httpx2.AsyncClient(base_url=f"http://{service.addresses.metrics}") as http:
            metrics = (await http.get("/metrics")).text
    lines = log()
    places = {
        "log": lines,
        "errors": "\n".join(
            f"{error.sent!r} {error.message} {error.violations} {error.headers}" for error in flow.errors
        ),
        "metrics": metrics,
        "database": await _dump(database_url),
    }
    assert lines.count('"event":"call"') >= 25
    assert all(isinstance(json.loads(line), dict) for line in lines.splitlines())
    assert len(flow.secrets) == 3
    assert flow.secrets[0][:17] in places["database"]
    assert {name: [trace for trace in _traces(flow) if trace in text] for name, text in places.items()} == {
        name: [] for name in places
    }
