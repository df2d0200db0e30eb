"""Asks about keys all the time, as internal services do, and knows what the answer must be.

Whatever is promised of one server must hold of several behind a load balancer, and while one of them is killed: a good
key is VALID; a revoked or rotated-out one is not, at once when the revocation waited for all servers, else a second
later, five at most; a rate limit lets its number of calls in and not one more. A call that fails is no wrong answer, if
it fails as UNAVAILABLE.
"""

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, NamedTuple

import grpc
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, RevokeApiKeyRequest, RotateApiKeyRequest
from sdk.developer.v1.developer_service_pb2_grpc import DeveloperServiceStub
from sdk.verification.v1.verdict_pb2 import Verdict
from sdk.verification.v1.verification_service_pb2 import VerifyApiKeyRequest
from sdk.verification.v1.verification_service_pb2_grpc import VerificationServiceStub

from bench.setting import connection
from server.keys.model import Environment
from server.keys.secret import draw

LATEST_SECONDS = 5.0
"""After this long no server may accept a key that was revoked without waiting."""
_WATCHED_SECONDS = 6.0
_CALL_SECONDS = 5.0
_PAUSE_SECONDS = 0.02
_LIVES_EVERY_SECONDS = 0.4
_REVOKED, _REVOKED_EVERYWHERE, _ROTATED_OUT = "revoked", "revoked, waiting for all", "rotated out"
_COUNTED = frozenset(Verdict.keys()) - {"VERDICT_MALFORMED", "VERDICT_NOT_FOUND"}
"""Verdicts on keys that were proved, which usage counts."""


class Key(NamedTuple):
    """A key that was made, and its first secret."""

    id: str
    secret: str


class Span(NamedTuple):
    """When a call began and ended, in seconds of the monotonic clock."""

    began: float
    ended: float


@dataclass(slots=True)
class Calls:
    """What the calls of one phase came to."""

    sent: int = 0
    counted: int = 0
    """Answers that usage must have counted."""
    verdicts: Counter[str] = field(default_factory=Counter)


class End(NamedTuple):
    """How a secret came to its end, in seconds."""

    took: float
    """From the wish to its acknowledgement."""
    late: float
    """From that to the last call that began after it and was VALID all the same; 0: there was none."""


class Limit:
    """A key with a rate limit of its own, and when it was let in."""

    def __init__(self, key: Key, requests: int, seconds: int) -> None:
        self.key = key
        self.requests = requests
        self.seconds = seconds
        self.let_in: list[Span] = []

    def most(self) -> int:
        """Return the most calls that one window let in, whenever between a call's begin and end that was decided."""
        return max(
            (
                sum(first.began <= other.began and other.ended < first.began + self.seconds for other in self.let_in)
                for first in self.let_in
            ),
            default=0,
        )


class Checker:
    """The calls, and what was wrong with their answers."""

    def __init__(self, internal: str, public: str, *, service_token: str, developer_token: str) -> None:
        """Take the addresses to call and the credentials for them."""
        self.wrong: list[str] = []
        self.failures: Counter[str] = Counter()
        """Calls that failed, by status code."""
        self.calls: dict[str, Calls] = {}
        """What became of calls, by phase; a phase's name is the operation under which its calls are counted."""
        self.ends: dict[str, list[End]] = {how: [] for how in (_REVOKED, _REVOKED_EVERYWHERE, _ROTATED_OUT)}
        """The secrets that were ended, by how."""
        self._channels = grpc.aio.insecure_channel(internal), grpc.aio.insecure_channel(public)
        self._verification: Any = VerificationServiceStub(self._channels[0])
        self._keys: Any = DeveloperServiceStub(self._channels[1])
        self._caller = [("authorization", f"Bearer {service_token}")]
        self._owner = [("authorization", f"Bearer {developer_token}")]
        self._until = math.inf
        self.phase("check")

    def phase(self, name: str) -> None:
        """Begin a phase."""
        self._phase = name
        self.calls.setdefault(name, Calls())

    async def close(self) -> None:
        """Hang up."""
        for channel in self._channels:
            await channel.close()

    async def new_key(self) -> Key:
        """Make a key."""
        created = await self._manage("CreateApiKey", CreateApiKeyRequest(name="Bench", scopes=["read"]))
        return Key(created.api_key.id, created.secret)

    async def limited(self, database_url: str, requests: int, seconds: int) -> Limit:
        """Make a key with a rate limit of its own, which only operators can give."""
        key = await self.new_key()
        statement = "UPDATE api_keys SET rate_requests = $1, rate_seconds = $2 WHERE id = $3"
        async with connection(database_url) as database:
            await database.execute(statement, requests, seconds, key.id)
        return Limit(key, requests, seconds)

    def end_in(self, seconds: float) -> None:
        """Let `run` go on for so long."""
        self._until = time.monotonic() + seconds

    async def run(self, database_url: str) -> None:
        """Ask until `end_in` says otherwise."""
        steady = await self.limited(database_url, 20, 2)
        spent = await self.limited(database_url, 30, 600)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stand([await self.new_key() for _ in range(5)]))
            group.create_task(self._knock(steady, 0.025))
            group.create_task(self._knock(spent, 0.05))
            ways = cycle([self._revoke_and_watch, self._revoke_everywhere, self._rotate_and_watch])
            while time.monotonic() < self._until - _WATCHED_SECONDS / 2:
                group.create_task(next(ways)())
                await asyncio.sleep(_LIVES_EVERY_SECONDS)
        for limit in (steady, spent):
            if not limit.let_in or limit.most() > limit.requests:
                self._blame(f"a limit of {limit.requests} in {limit.seconds} s let {limit.most()} in")

    async def burst(self, database_url: str, requests: int) -> None:
        """Call four times as often as a limit allows, all at once: it must let exactly its number in."""
        limit = await self.limited(database_url, requests, 600)
        failed = self.failures.total()
        await asyncio.gather(*(self._knock_once(limit) for _ in range(4 * requests)))
        if len(limit.let_in) != requests and self.failures.total() == failed:
            self._blame(f"a limit of {requests} let {len(limit.let_in)} of {4 * requests} calls at once in")

    async def _stand(self, keys: Sequence[Key]) -> None:
        """Ask what has one answer for ever."""
        questions: list[tuple[str, str, str, Sequence[str]]] = []
        for key in keys:
            questions += [
                (key.secret, key.id, "VERDICT_VALID", ["read"]),
                (key.secret, key.id, "VERDICT_INSUFFICIENT_SCOPE", ["read", "stream"]),
            ]
        questions.append((draw(Environment.TEST).reveal(), "", "VERDICT_NOT_FOUND", []))
        questions.append((keys[0].secret[:-1], "", "VERDICT_MALFORMED", []))
        for secret, key_id, verdict, scopes in cycle(questions):
            if time.monotonic() >= self._until:
                return
            answer = await self._ask(secret, scopes)
            if answer is not None and (Verdict.Name(answer.verdict), answer.key_id) != (verdict, key_id):
                self._blame(f"{Verdict.Name(answer.verdict)} in place of {verdict}")
            await asyncio.sleep(_PAUSE_SECONDS / 2)

    async def _knock(self, limit: Limit, pause: float) -> None:
        while time.monotonic() < self._until:
            await self._knock_once(limit)
            await asyncio.sleep(pause)

    async def _knock_once(self, limit: Limit) -> None:
        began = time.monotonic()
        answer = await self._ask(limit.key.secret)
        if answer is None:
            return
        verdict = Verdict.Name(answer.verdict)
        if verdict == "VERDICT_VALID":
            limit.let_in.append(Span(began, time.monotonic()))
        elif verdict != "VERDICT_RATE_LIMITED":
            self._blame(f"{verdict} of a key at its limit")

    async def _revoke_and_watch(self) -> None:
        await self._end(_REVOKED, wait=False)

    async def _revoke_everywhere(self) -> None:
        await self._end(_REVOKED_EVERYWHERE, wait=True)

    async def _end(self, how: str, *, wait: bool) -> None:
        key = await self.new_key()
        await self._expect_valid(key.id, key.secret, 1)
        revoke = self._manage("RevokeApiKey", RevokeApiKeyRequest(id=key.id, wait=wait))
        await self._watch(how, revoke, key.secret, "VERDICT_REVOKED", allowed=0.0 if wait else LATEST_SECONDS)

    async def _rotate_and_watch(self) -> None:
        """Rotate with grace, which ends nothing yet, then without, which ends the secrets that were."""
        key = await self.new_key()
        await self._expect_valid(key.id, key.secret, 1)
        second = (await self._manage("RotateApiKey", RotateApiKeyRequest(id=key.id))).secret
        await self._expect_valid(key.id, second, 2)
        await self._expect_valid(key.id, key.secret, 1)
        request = RotateApiKeyRequest(id=key.id, expire_previous_now=True)
        rotate = self._manage("RotateApiKey", request)
        rotated = await self._watch(_ROTATED_OUT, rotate, second, "VERDICT_ROTATED_OUT", allowed=LATEST_SECONDS)
        await self._expect_valid(key.id, rotated.secret, 3)

    async def _watch(
        self, how: str, change: Coroutine[Any, Any, Any], secret: str, refusal: str, *, allowed: float
    ) -> Any:
        """Make the change that ends a secret, asking about it all the while; see when the last call was let in."""
        wished = time.monotonic()
        ended: list[float] = []
        let_in: list[float] = []

        async def make() -> Any:
            result = await change
            ended.append(time.monotonic())
            return result

        changed = asyncio.create_task(make())
        while not changed.done() or time.monotonic() < min(ended[0] + _WATCHED_SECONDS, self._until):
            began = time.monotonic()
            answer = await self._ask(secret)
            verdict = None if answer is None else Verdict.Name(answer.verdict)
            if verdict == "VERDICT_VALID":
                let_in.append(began)
            elif verdict not in (None, refusal):
                self._blame(f"{verdict} of a key that was {how}")
            await asyncio.sleep(_PAUSE_SECONDS if not ended or began < ended[0] + 1.5 else 10 * _PAUSE_SECONDS)
        result = await changed
        late = max(0.0, max(let_in, default=0.0) - ended[0])
        self.ends[how].append(End(ended[0] - wished, late))
        if result is None:  # the answer was lost and the second try waited for nobody
            allowed = LATEST_SECONDS
        if late > allowed:
            self._blame(f"VALID {late:.2f} s after the key was {how}")
        return result

    async def _expect_valid(self, key_id: str, secret: str, version: int) -> None:
        """Ask some times, so that each server has seen the key."""
        for _ in range(4):
            answer = await self._ask(secret)
            if answer is None:
                continue
            told = Verdict.Name(answer.verdict), answer.key_id, answer.secret_version
            if told != ("VERDICT_VALID", key_id, version):
                self._blame(f"{told[0]}, version {told[2]}, of a good key's secret {version}")

    async def _ask(self, secret: str, scopes: Sequence[str] = ()) -> Any:
        """Ask about a key once; None: the call failed."""
        phase, calls = self._phase, self.calls[self._phase]
        request = VerifyApiKeyRequest(api_key=secret, required_scopes=scopes, operation=phase)
        calls.sent += 1
        try:
            answer = await self._verification.VerifyApiKey(request, metadata=self._caller, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as failure:
            self.failures[failure.code().name] += 1
            return None
        verdict = Verdict.Name(answer.verdict)
        calls.verdicts[verdict] += 1
        calls.counted += verdict in _COUNTED
        return answer

    async def _manage(self, method: str, request: Any) -> Any:
        """Change a key as its owner; when the outcome is unknown, again with the same request id."""
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = str(uuid.uuid4())
        call: Callable[..., Awaitable[Any]] = getattr(self._keys, method)
        tries = 0
        while True:
            tries += 1
            try:
                return await call(request, metadata=self._owner, timeout=2 * _CALL_SECONDS)
            except grpc.aio.AioRpcError as failure:
                if tries > 1 and failure.code() is grpc.StatusCode.FAILED_PRECONDITION:
                    return None  # the try before has revoked it
                self.failures[failure.code().name] += 1
                if failure.code() is not grpc.StatusCode.UNAVAILABLE or tries > 100:
                    raise
                await asyncio.sleep(0.05)

    def _blame(self, what: str) -> None:
        self.wrong.append(f"{self._phase}: {what}")
