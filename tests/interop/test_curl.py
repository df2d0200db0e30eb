"""curl against REST, and every line that README.md asks a newcomer to paste."""

import json
import re
import socket
from pathlib import Path

import pytest

from tests.integration.process.conftest import fresh
from tests.integration.process.installation import PORTS, Installation
from tests.interop.tools import ROOT, run_tool
from tests.service import Service

__all__ = ["fresh"]

pytestmark = pytest.mark.interop

_KEYS = "/v1/developer/keys"
_DEFAULTS = {
    "GRPC": "127.0.0.1:50051",
    "INTERNAL_GRPC": "127.0.0.1:50052",
    "HTTP": "127.0.0.1:8080",
    "METRICS": "127.0.0.1:9090",
}
_METHODS = ("Create", "List", "Get", "Update", "Rotate", "Revoke")

# Succeed only when the server does, and show why not: plain curl is content with any answer, and with -f it is silent.
_STRICT = """
set -Eeuo pipefail
trap 'echo "This line failed: $BASH_COMMAND" >&2' ERR
curl() {
    local word words=()
    for word; do [ "$word" = -f ] || words+=("$word"); done
    command curl --fail-with-body "${words[@]}"
}
"""


def pasted_blocks(markdown: str) -> list[str]:
    """Return the sh blocks of a document that talk to a running server, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if re.search(r"\b(curl|grpcurl|make token)\b", block)]


def _is_free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_server((host, int(port))).close()
    except OSError:
        return False
    return True


async def test_every_line_of_the_readme_works(fresh: Installation, tmp_path: Path) -> None:
    script = _STRICT + "".join(pasted_blocks((ROOT / "README.md").read_text()))
    ports = _DEFAULTS if all(map(_is_free, _DEFAULTS.values())) else {}
    async with fresh.serving(**{f"DEVELOPER_{name}_ADDRESS": address for name, address in ports.items()}) as server:
        for name in PORTS:
            script = script.replace(_DEFAULTS[name], getattr(server.addresses, name.lower()))
        work_tree = fresh.folder / "work"  # so that files the lines write do not land in ours
        work_tree.mkdir()
        for name in (".venv", "examples"):
            (work_tree / name).symlink_to(ROOT / name)
        (work_tree / "Makefile").write_text(f"token:\n\t@$(MAKE) --no-print-directory -C '{ROOT}' token\n")

        environment = {
            "DEVELOPER_DATA_DIR": str(fresh.data_dir),
            "DEVELOPER_INTERNAL_GRPC_ADDRESS": server.addresses.internal_grpc,
        }
        pasted = await run_tool("bash", "-c", script, seconds=60, cwd=work_tree, environment=environment)

    assert pasted.exit_code == 0, pasted.stdout[-1000:] + pasted.stderr
    methods = [event["method"].rpartition("/")[2] for event in server.log if event["event"] == "call"]
    assert all(methods.count(f"{verb}ApiKey{'s' * (verb == 'List')}") >= 2 for verb in _METHODS), methods
    assert pasted.stdout.count("VERDICT_VALID") == 2


async def test_the_printed_lines_work_as_they_are(fresh: Installation) -> None:
    async with fresh.serving() as server:
        lines = server.out[server.out.index("TOKEN=") :]
        pasted = await run_tool("bash", "-c", _STRICT + lines)

    assert pasted.exit_code == 0, pasted
    assert pasted.stdout.count("ang_test_") == 3  # a prefix and a secret by curl, the prefix again by grpcurl


@pytest.mark.parametrize("protocol", ["--http1.0", "--http1.1"])
async def test_a_key_is_created_over_any_http(service: Service, protocol: str) -> None:
    created = await run_tool(
        "curl", "-sS", "--fail-with-body", protocol, "-H", f"Authorization: Bearer {service.token()}",
        "--json", '{"name":"Production","scopes":["read"]}', service.rest + _KEYS,
    )  # fmt: skip

    assert created.json["secret"].startswith(created.json["apiKey"]["keyPrefix"])


async def test_http2_is_not_spoken_on_the_rest_port_and_curl_falls_back(service: Service) -> None:
    answer = await run_tool("curl", "-sS", "--http2", "-w", "\\n%{http_version}", f"{service.rest}/healthz")

    assert answer.stdout.splitlines() == ['{"status":"ok"}', "1.1"]


async def test_a_large_upload_that_waits_for_100_continue_is_refused(service: Service, tmp_path: Path) -> None:
    upload = tmp_path / "large.json"
    upload.write_bytes(b'{"name":"' + b"x" * 5_000_000 + b'"}')

    answer = await run_tool(
        "curl", "-sS", "-w", "\\n%{http_code}", "-H", "Expect: 100-continue", "-H", "Content-Type: application/json",
        "-H", f"Authorization: Bearer {service.token()}", "--data-binary", f"@{upload}", service.rest + _KEYS,
    )  # fmt: skip

    body, status = answer.stdout.rsplit("\n", 1)
    assert status == "413"
    assert json.loads(body)["code"] == "ERROR_CODE_PAYLOAD_TOO_LARGE"


async def test_a_refusal_carries_its_challenge_and_headers(service: Service) -> None:
    answer = await run_tool("curl", "-sS", "-i", service.rest + _KEYS)

    head, _, body = answer.stdout.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 401 ")
    assert re.search(r"^www-authenticate: Bearer realm=", head, re.IGNORECASE | re.MULTILINE)
    assert json.loads(body)["code"] == "ERROR_CODE_UNAUTHENTICATED"
