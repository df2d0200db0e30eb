"""The OpenAPI document: what was published of CreateApiKey holds to the letter, and the server does what it says."""

import asyncio
import json
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server.services import AUTH_SERVICE, PUBLIC_SERVICES
from tests.e2e.clients import AUTH_ROUTES, EVERY_ROUTE, ROUTES, USAGE_ROUTES
from tests.service import Service

GOLDEN = Path(__file__).parents[1] / "golden" / "create_api_key.json"
ENVIRONMENT = {
    "type": "string",
    "enum": ["API_KEY_ENVIRONMENT_UNSPECIFIED", "API_KEY_ENVIRONMENT_LIVE", "API_KEY_ENVIRONMENT_TEST"],
}
DETAILS = {
    "type": "array",
    "items": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
}
ADDITIONS: dict[str, Any] = {
    "sdk_developer_v1_CreateApiKeyRequest": {
        "properties": {
            "scopes": {"items": {"enum": ["read", "stream"]}, "uniqueItems": True},
            "environment": ENVIRONMENT,
            "expiresAt": {"type": "string", "maxLength": 40},
            "requestId": {"type": "string", "format": "uuid"},
        },
        "additionalProperties": False,
    },
    "sdk_developer_v1_ApiKey": {"properties": {"environment": ENVIRONMENT}},
    "ValidationError": {"properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": DETAILS}},
    "Error": {"properties": {"code": {"type": "string"}, "details": DETAILS}},
}
CASES_PER_OPERATION = 100
FEWER_CASES = 40
"""For services that share all their machinery with those that get more."""
UNGUESSABLE = frozenset(AUTH_ROUTES)
"""Nothing but a flow through a browser makes what these ask for, and an address has few tries at them."""


async def _document(service: Service) -> Any:
    async with httpx2.AsyncClient(base_url=service.rest) as http:
        response = await http.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    return response.json()


def _structure(document: Any) -> Any:
    """Leave out prose and examples: sentences under `description`, not a property of that name."""
    if isinstance(document, list):
        return [_structure(each) for each in document]
    if not isinstance(document, dict):
        return document
    prose = {name for name in ("description", "summary", "example") if isinstance(document.get(name), str)}
    return {name: _structure(value) for name, value in document.items() if name not in prose}


def _merged(base: Any, addition: Any) -> Any:
    if not isinstance(base, dict):
        return addition
    return {**base, **{name: _merged(base.get(name), value) for name, value in addition.items()}}


async def test_create_api_key_is_as_it_was_published_plus_our_additions(platform: Service) -> None:
    published = json.loads(GOLDEN.read_text())
    document = _structure(await _document(platform))
    schemas = document["components"]["schemas"]
    assert document["openapi"] == "3.1.0"
    assert document["paths"][published["path"]]["post"] == published["operation"]
    assert {name: schemas[name] for name in published["schemas"]} == _merged(published["schemas"], ADDITIONS)


async def test_every_operation_has_the_name_and_the_tag_of_its_method(platform: Service) -> None:
    paths = (await _document(platform))["paths"]
    operations = {(verb.upper(), path): each for path, item in paths.items() for verb, each in item.items()}
    assert {each["operationId"]: route for route, each in operations.items()} == EVERY_ROUTE
    tags = {service.name for service in (*PUBLIC_SERVICES, AUTH_SERVICE)}
    assert {tag for each in operations.values() for tag in each["tags"]} == tags
    assert all("401" in each["responses"] or "default" in each["responses"] for each in operations.values())
    anonymous = {each["operationId"] for each in operations.values() if each.get("security") == []}
    assert anonymous == set(AUTH_ROUTES)


async def test_the_document_names_this_installation(platform: Service) -> None:
    assert (await _document(platform))["servers"] == [{"url": platform.settings.public_url}]


class Prober:
    """Sends generated requests as one developer and counts what came back."""

    def __init__(self, base_url: str, token: str) -> None:
        self._http = httpx2.Client(base_url=base_url, headers={"authorization": f"Bearer {token}"})
        self._base_url = base_url
        self._authorization = {"Authorization": f"Bearer {token}"}
        self._clients: list[str] = []
        self._bodies: dict[str, Any] = {
            "CreateOAuthClient": {
                "name": "a",
                "type": "O_AUTH_CLIENT_TYPE_PUBLIC",
                "redirectUris": ["https://a.example/"],
                "allowedScopes": ["read"],
            },
            "UpdateOAuthClient": {"name": "b"},
            "RotateClientSecret": {},
            "EndGrace": {},
            "RegisterDeveloper": {"displayName": "A", "contactEmail": "a@example.com", "termsVersion": "1"},
            "UpdateDeveloper": {"organisation": "B"},
            "RequestTier": {"tier": "large", "reason": "growth"},
        }
        self.statuses: dict[str, Counter[int]] = {method: Counter() for method in EVERY_ROUTE}

    def new_key(self) -> str:
        created: dict[str, Any] = self._http.post("/v1/developer/keys", json={"name": "a", "scopes": ["read"]}).json()
        return str(created["apiKey"]["id"])

    def new_client(self) -> str:
        wish = {
            "name": "a",
            "type": "O_AUTH_CLIENT_TYPE_CONFIDENTIAL",
            "redirectUris": ["https://a.example/"],
            "allowedScopes": ["read"],
        }
        created: dict[str, Any] = self._http.post("/v1/developer/oauth-clients", json=wish).json()
        client_id = str(created["client"]["id"])
        self._clients.append(client_id)
        if len(self._clients) > 50:  # a developer has not room for all of them
            self._http.delete(f"/v1/developer/oauth-clients/{self._clients.pop(0)}")
        return client_id

    def help(self, case: Any, method: str) -> None:
        """Put in what no generator can guess: the id of a key, a printable name, a time in the future or none."""
        self._place(case.path_parameters, method)
        if method in self._bodies:
            case.body = self._bodies[method]
            return
        if method.startswith("List"):
            case.query = {name: value for name, value in (case.query or {}).items() if name == "pageSize"}
        elif method in USAGE_ROUTES:
            case.query = {name: value for name, value in case.query.items() if name == "granularity"}
        if not isinstance(case.body, dict):
            return
        body = {name: value for name, value in case.body.items() if name in ("environment", "expirePreviousNow")}
        if method in ("CreateApiKey", "UpdateApiKey"):
            printable = "".join(each for each in str(case.body.get("name")) if each.isprintable())
            body |= {"name": f"a{printable[:50]}z", "expiresAt": "2999-01-01T00:00:00Z"}
        case.body = body | ({"scopes": ["read"]} if method == "CreateApiKey" else {})

    def _place(self, path_parameters: dict[str, Any], method: str) -> None:
        """Put what exists into the path."""
        if "id" in path_parameters:
            path_parameters["id"] = self.new_client() if "Client" in method else self.new_key()
        if method == "EndGrace":
            self._http.post(f"/v1/developer/keys/{path_parameters['id']}/rotate", json={})
            path_parameters["version"] = 1
        if "month" in path_parameters:
            path_parameters["month"] = "2026-01"

    def probe(self, operation: Any, case: Any, *, helped: bool) -> None:
        method = operation.definition.raw["operationId"]
        if helped:
            self.help(case, method)
        response = case.call(base_url=self._base_url, headers=self._authorization)
        self.statuses[method][response.status_code] += 1
        checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
        case.validate_response(response, checks=checks)

    def close(self) -> None:
        self._http.close()


def _explore(prober: Prober, document: Any) -> None:
    """Try every operation with requests that obey the document and with such that do not."""
    operations: list[Any] = list(schemathesis.openapi.from_dict(document).get_all_operations())
    for operation, mode in product(operations, (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)):
        method = operation.ok().definition.raw["operationId"]
        cases = {**dict.fromkeys(ROUTES, CASES_PER_OPERATION), **dict.fromkeys(AUTH_ROUTES, 6)}.get(method, FEWER_CASES)
        some = settings(
            max_examples=cases // 2,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        probe = partial(prober.probe, operation.ok())
        some(given(case=operation.ok().as_strategy(generation_mode=mode), helped=st.booleans())(_named(probe)))()


def _named(probe: Any) -> Any:
    """Make a function of a partial one: Hypothesis reads its name and signature."""

    def generated(case: Any, helped: bool) -> None:
        probe(case, helped=helped)

    return generated


async def test_generated_requests_never_break_the_server_and_some_of_each_succeed(
    platform: Service, issuer: Any
) -> None:
    connection = await asyncpg.connect(platform.settings.database_url)
    await connection.execute("INSERT INTO tiers VALUES ('large', 6000, 60, 6000, NULL, 1000, 10)")
    await connection.close()
    prober = Prober(platform.rest, issuer.issue("schemathesis"))
    try:
        await asyncio.to_thread(_explore, prober, await _document(platform))
    finally:
        await asyncio.to_thread(prober.close)
    never = {method for method, statuses in prober.statuses.items() if 200 not in statuses}
    assert never == UNGUESSABLE, prober.statuses
    assert not [status for statuses in prober.statuses.values() for status in statuses if status >= 500]
