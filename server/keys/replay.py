"""Safe retries of create and rotate: for 10 minutes the same request and id give the same answer, secret included.

The outcome of a change whose COMMIT was cut off cannot be known, so its caller must be able to ask again without
minting a second live key. The answer waits sealed (AES-256-GCM) under a key made of the pepper and the caller's request
id; the database knows neither.
"""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.audit.store import Actor
from server.errors import Conflict, InvalidRequest, Unavailable, Violation
from server.keys.model import ApiKey, Environment
from server.keys.store import KeyStore, UsedRequest
from server.peppers import Peppers
from server.secret import Secret

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A key with a secret that its owner sees this once; after a rotation also when the previous secret ends."""

    key: ApiKey
    secret: Secret
    previous_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A change that may be retried: the method, the caller's request id (empty for none) and all that it asks for."""

    method: str
    request_id: str
    payload: tuple[object, ...]


async def once(
    store: KeyStore, peppers: Peppers, actor: Actor, request: Request, work: Callable[[], Awaitable[Issued]]
) -> Issued:
    """Do the work, or return what it gave the first time; part of the caller's transaction.

    Raises:
        InvalidRequest: the request id was used for a different request.
        Conflict: it was used more than 10 minutes ago; the sentence and the metadata name the key.
    """
    if not request.request_id:
        return await work()
    request_id = request.request_id.lower()  # a UUID means the same in either case (RFC 9562 section 4)
    digest = hashlib.sha256(request_id.encode()).digest()
    payload = hashlib.sha256(repr(request.payload).encode()).digest()
    if not await store.claim_request(actor.developer_id, request.method, digest, payload):
        used = await store.find_request(actor.developer_id, request.method, digest)
        if used is None:
            raise Unavailable  # its 24 hours ended between two statements: the next try is a first use
        return _replay(used, payload, peppers, _context(actor, request_id))
    issued = await work()
    sealed = _seal(issued, _key(peppers, peppers.current, _context(actor, request_id)))
    await store.answer_request(actor.developer_id, request.method, digest, issued.key.id, sealed, peppers.current)
    return issued


def _replay(used: UsedRequest, payload: bytes, peppers: Peppers, context: bytes) -> Issued:
    if used.payload_digest != payload:
        sentence = "was used for a different request: take a new UUID for a new request"
        raise InvalidRequest([Violation("request_id", sentence)])
    key = _key(peppers, used.pepper_version or 0, context)
    issued = _unseal(used.sealed, key) if used.sealed and key else None
    if issued is None:
        raise Conflict(
            f"This request was answered before, with key {used.key_id}, whose secret cannot be shown again. Rotate it.",
            metadata={"keyId": used.key_id or ""},
        )
    return issued


def _context(actor: Actor, request_id: str) -> bytes:
    return f"{actor.developer_id}\0{request_id}".encode()


def _key(peppers: Peppers, version: int, context: bytes) -> bytes | None:
    return peppers.derive("sealed-answer/v1", version, context)


def _seal(issued: Issued, key: bytes | None) -> bytes:
    if key is None:
        raise LookupError("the current pepper is always held")
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, json.dumps(_to_json(issued)).encode(), None)


def _unseal(sealed: bytes, key: bytes) -> Issued | None:
    try:
        return _from_json(json.loads(AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)))
    except InvalidTag:
        return None


_TIMES = ("created_at", "expires_at", "revoked_at", "last_used_at")


def _to_json(issued: Issued) -> dict[str, Any]:
    key = {name: getattr(issued.key, name) for name in ApiKey.__dataclass_fields__}
    key |= {name: _text(key[name]) for name in _TIMES} | {"environment": issued.key.environment.value}
    return {"key": key, "secret": issued.secret.reveal(), "previous_expires_at": _text(issued.previous_expires_at)}


def _from_json(document: dict[str, Any]) -> Issued:
    key = document["key"]
    key |= {name: _moment(key[name]) for name in _TIMES}
    key |= {"environment": Environment(key["environment"]), "scopes": tuple(key["scopes"])}
    previous = _moment(document["previous_expires_at"])
    return Issued(key=ApiKey(**key), secret=Secret(document["secret"]), previous_expires_at=previous)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
