"""The portal's pages over made-up answers of the methods: no database, no tokens."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from server.errors import Kind
from server.pages.site import Site
from server.portal.app import ASSETS, TEMPLATES
from server.portal.pages import key, key_changes, keys, new_secret, overview
from server.portal.portal import Portal
from server.portal.signed_in import SignedIn
from server.rpc.in_process import CallFailed
from tests.browser import Browser, Page

NOW = datetime(2026, 11, 22, 14, 5, 30, tzinfo=UTC)
URL = "http://portal.test"

Answer = Message | CallFailed | Callable[[Any], Message]


class Methods:
    """Answers calls by the method's name."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.called: list[str] = []

    async def call(self, method: str, request: Message, response_type: type[Message], **_: str) -> Message:
        name = method.rpartition("/")[2]
        self.called.append(name)
        answer = self.answers.get(name, CallFailed(Kind.UNIMPLEMENTED, f"no answer for {name}"))
        if isinstance(answer, CallFailed):
            raise answer
        return answer if isinstance(answer, Message) else answer(request)


class SomeoneSignedIn:
    """Sessions in which somebody is signed in, until closed."""

    def __init__(self, name: str = "Alice's Apps") -> None:
        self.signed_in: SignedIn | None = SignedIn(cookie="cookie", subject="alice", access_token="access", name=name)

    async def find(self, cookie: str | None) -> SignedIn | None:
        return self.signed_in

    async def close(self, cookie: str | None) -> None:
        self.signed_in = None

    async def note_name(self, cookie: str, name: str) -> None:
        assert self.signed_in is not None


class Desk:
    """Opens pages."""

    def __init__(self, answers: Mapping[str, Answer], *, name: str = "Alice's Apps", language: str = "en") -> None:
        self.methods = Methods(answers)
        self.sessions = SomeoneSignedIn(name)
        methods: Any = self.methods
        sessions: Any = self.sessions
        nothing: Any = None
        site = Site([TEMPLATES], public_url=URL, csrf_key=b"k" * 32, assets=[ASSETS], now=lambda: NOW)
        portal = Portal(
            site=site,
            sessions=sessions,
            reveals=nothing,
            caller=methods,
            public_url=URL,
            now=lambda: NOW,
        )
        modules = (overview, keys, new_secret, key_changes, key)
        self.app = site.app([route for module in modules for route in module.routes(portal)])
        self._language = language

    async def open(self, path: str, **headers: str) -> Page:
        """Open a page, without following."""
        async with Browser(URL, self.app, language=self._language) as browser:
            return await browser.open(path, **headers)
