"""The link that limits: headers on every answer, a place per token, and how long to wait."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from server.errors import RateLimited
from server.identity.principal import AccessToken, bind_token
from server.limits.interceptor import TokenRateLimit
from server.limits.model import Rate
from server.limits.service import LocalLimiter
from server.rpc.call import Call


def _bind(digest: bytes) -> None:
    bind_token(
        AccessToken(
            issuer="i",
            subject="s",
            client_id="c",
            token_id="t",
            scopes=frozenset(),
            expires_at=datetime(2030, 1, 1, tzinfo=UTC),
            digest=digest,
        )
    )


async def _proceed(call: Call, request: Any) -> Any:
    return request


def _call() -> Call:
    context: Any = None
    return Call(method="/x/y", context=context, metadata=())


async def test_each_token_has_its_window_and_sees_it() -> None:
    limit = TokenRateLimit(LocalLimiter(clock=lambda: 0), Rate(1, 60))
    seen = []
    for digest in (b"one", b"two"):
        _bind(digest)
        call = _call()
        assert await limit(_proceed, call, b"x") == b"x"
        seen.append(call.response_headers)
    assert [headers["x-ratelimit-limit"] for headers in seen] == ["1", "1"]
    assert [headers["x-ratelimit-remaining"] for headers in seen] == ["0", "0"]
    assert all(59 <= int(headers["x-ratelimit-reset"]) - time.time() <= 61 for headers in seen)


@pytest.mark.parametrize(("passed", "wait"), [(0.0, 60), (0.5, 60), (59.0, 1), (59.999, 1)])
async def test_a_refused_call_is_told_whole_seconds_to_wait(passed: float, wait: int) -> None:
    now = [0.0]
    limit = TokenRateLimit(LocalLimiter(clock=lambda: round(now[0] * 1e9)), Rate(1, 60))
    _bind(b"one")
    await limit(_proceed, _call(), b"x")
    now[0] += passed
    call = _call()
    with pytest.raises(RateLimited) as refusal:
        await limit(_proceed, call, b"x")
    assert refusal.value.message == f"Rate limit exceeded. Retry after {wait}s."
    assert call.response_headers["x-ratelimit-remaining"] == "0"


async def test_a_client_may_have_a_rate_of_its_own() -> None:
    limit = TokenRateLimit(LocalLimiter(clock=lambda: 0), Rate(1, 60), by_client={"c": Rate(10, 60)})
    _bind(b"one")
    call = _call()
    await limit(_proceed, call, b"x")
    assert call.response_headers["x-ratelimit-limit"] == "10"
