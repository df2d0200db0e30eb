"""The client of the end-to-end cases that goes through real Envoy's transcoder to the public gRPC port.

It translates what Envoy answers otherwise than our REST, each for a reason:

- An error is a `google.rpc.Status` in JSON, with its details, under the HTTP status of its gRPC code: Envoy knows no
  reason that is a conflict (409) or overload (503), and no fields of ours.
- Violations name fields as the protos do, as over gRPC: Envoy does not know how the client spelled them.
- What Envoy refuses itself is plain text, with neither a call's id nor the fields at fault, since no call was made.

What no translation mends is listed in differences_e2e.toml, beside this file.
"""

import tempfile
import tomllib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status

from server.services import public_services
from server.transcoding.errors import HTTP_STATUSES
from tests.e2e.clients import Answer, RestClient, failure_of_status
from tests.interop.tools import ROOT
from tests.interop.transcoder.strict_envoy import FORMS, strict_envoy
from tests.service import Service

_DIFFERENCES = Path(__file__).with_name("differences_e2e.toml")
_STATUSES = {code.value[0]: status for code, status in HTTP_STATUSES.items()}
_REFUSALS = {400: "ERROR_CODE_INVALID_REQUEST", 404: "ERROR_CODE_NOT_FOUND"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyClient(RestClient):
    """The client through Envoy."""

    def spell(self, path: str) -> str:
        """Violations name fields as the protos do."""
        return path

    def failure(self, response: httpx2.Response) -> Answer:
        """Read an error: a status in JSON, or a refusal of Envoy's own."""
        headers = dict(response.headers)
        if headers["content-type"] == "text/plain":
            return Answer(code=_REFUSALS[response.status_code], headers=headers, message=response.text)
        status = json_format.Parse(response.content, Status())
        assert response.status_code == _STATUSES[status.code], code_pb2.Code.Name(status.code)
        unlike = {"date", "server", "content-length", "x-envoy-upstream-service-time"}
        sent = [response.text, *sorted(f"{name}: {headers[name]}" for name in headers if name not in unlike)]
        return failure_of_status(status, headers, "\n".join(sent).encode())


@asynccontextmanager
async def envoy_client(service: Service, token: str) -> AsyncIterator[EnvoyClient]:
    """Put Envoy in front of a service's public gRPC port and connect to it."""
    image = FileDescriptorSet.FromString((ROOT / "gen" / "sdk.binpb").read_bytes())
    names = [each.full_name for each in public_services(service.settings)]
    port = int(service.addresses.grpc.rpartition(":")[2])
    with tempfile.TemporaryDirectory() as folder:
        async with strict_envoy(Path(folder), port, image, names, max_body=4 * 1024 * 1024) as ports:
            base = f"http://127.0.0.1:{ports[next(iter(FORMS))]}"
            async with httpx2.AsyncClient(base_url=base, trust_env=False) as http:
                yield EnvoyClient(token=token, http=http)


def expect_differences(items: Iterable[pytest.Item]) -> None:
    """Let the listed cases fail, and see that they do: one that passes is no difference any more."""
    listed = {
        case: difference["reason"]
        for difference in tomllib.loads(_DIFFERENCES.read_text())["difference"]
        for case in difference["cases"]
    }
    for item in items:
        reason = listed.get(item.nodeid.rpartition("/")[2])
        if reason is not None:
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))
