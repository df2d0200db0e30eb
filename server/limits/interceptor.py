"""The link that limits management calls per access token and tells every authenticated caller where it stands."""

import math
import time
from collections.abc import Mapping
from typing import Any

from server.errors import RateLimited
from server.identity.principal import current_token
from server.limits.model import Claim, Rate
from server.limits.service import Limiter
from server.rpc.call import Call, Proceed


class TokenRateLimit:
    """Gives each access token a sliding window, and sets `X-RateLimit-*` on every answer (contract section 5)."""

    def __init__(self, limiter: Limiter, rate: Rate, *, by_client: Mapping[str, Rate] | None = None) -> None:
        """Limit tokens to `rate`, those of some OAuth clients to rates of their own."""
        self._limiter = limiter
        self._rate = rate
        self._by_client = dict(by_client or {})

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call if its token's window has a place.

        Raises:
            RateLimited: it has none; the error says when to retry.
        """
        token = current_token()
        rate = self._by_client.get(token.client_id or "", self._rate)
        decision = await self._limiter.take([Claim(b"t:" + token.digest, rate)])
        call.response_headers["x-ratelimit-limit"] = str(decision.limit)
        call.response_headers["x-ratelimit-remaining"] = str(decision.remaining)
        call.response_headers["x-ratelimit-reset"] = str(math.ceil(time.time() + decision.reset_seconds))
        if not decision.allowed:
            raise RateLimited(retry_after=max(1, math.ceil(decision.retry_seconds)))
        return await proceed(call, request)
