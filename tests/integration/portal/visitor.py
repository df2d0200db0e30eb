"""A developer at the portal of a running service: signs in by a browser, and calls the API beside it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
from sdk.verification.v1.verification_service_pb2 import VerifyApiKeyRequest
from sdk.verification.v1.verification_service_pb2_grpc import VerificationServiceStub

from tests.browser import Browser, Page
from tests.service import Service

PROFILE = {"displayName": "Alice's Apps", "contactEmail": "alice@example.com", "termsVersion": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """One person with a browser and a token."""

    service: Service
    browser: Browser
    api: httpx2.AsyncClient

    async def register(self) -> None:
        """Become a developer, over REST."""
        await self.rest("POST", "/v1/developer/account", PROFILE)

    async def sign_in(self, path: str = "/portal/") -> Page:
        """Open a page of the portal and sign in on the way; return the page that comes of it."""
        username, _, password = (self.service.settings.data_dir / "development-account").read_text().partition(":")
        page = await self.browser.follow(await self.browser.open(path))
        page = await self.browser.submit(page, "username", username=username, password=password.strip())
        return await self.browser.follow(page)

    async def rest(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the API as any client does."""
        answer = await self.api.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def new_key(self, name: str = "Production", **wish: Any) -> Any:
        """Make a key by the API and return the answer."""
        return await self.rest("POST", "/v1/developer/keys", {"name": name, "scopes": ["read"], **wish})

    async def open(self, path: str) -> Page:
        """Open a page, following redirects."""
        return await self.browser.follow(await self.browser.open(path))


@asynccontextmanager
async def visiting(service: Service, subject: str = "alice", language: str = "en") -> AsyncIterator[Visitor]:
    """Go to a service as somebody."""
    headers = {"authorization": f"Bearer {service.token(subject)}"}
    async with (
        httpx2.AsyncClient(base_url=service.rest, headers=headers, trust_env=False, timeout=30) as api,
        Browser(service.rest, language=language) as browser,
    ):
        yield Visitor(service=service, browser=browser, api=api)


async def verify(
    service: Service, data_dir: Path, secret: str, calls: int = 1, operation: str = "catalog.search"
) -> None:
    """Verify a key so many times, as an internal service."""
    token = (data_dir / "internal-token").read_text().strip()
    async with grpc.aio.insecure_channel(service.addresses.internal_grpc) as channel:
        stub: Any = VerificationServiceStub(channel)
        for _ in range(calls):
            request = VerifyApiKeyRequest(api_key=secret, operation=operation)
            await stub.VerifyApiKey(request, metadata=[("authorization", f"Bearer {token}")])
