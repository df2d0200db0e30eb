"""The words of `gateway` and `openapi`: what they amount to, and how each is refused."""

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer
from typer.testing import CliRunner

from server.gateway import commands
from server.gateway.commands import gateway_commands
from server.gateway.upstream import Tls, Upstream
from server.transcoding.router import routes_of
from tests.e2e.test_internal_tls import Authority
from tests.unit.transcoding.kitchen import SERVICE, service_of

Words = Sequence[str]


class Refused(Exception):
    """The command ended before it began."""


class Typed:
    """What came of a command line: the settings it would have run with, or the faults."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.got: Any = None
        self.faults: list[str] = []
        self._app = typer.Typer()
        made = gateway_commands(run=lambda work: None, say=print, refuse=self._refuse, asked_to_stop=asyncio.Event)
        for name, command in made.items():
            self._app.command(name)(command)
        monkeypatch.setattr(commands, "_serve", self._keep)
        monkeypatch.setattr(commands, "_print_openapi", self._keep)
        monkeypatch.setattr("server.logs.configure", lambda: None)

    def type(self, *words: str) -> int:
        """Type a command; return its exit code."""
        return CliRunner().invoke(self._app, list(words)).exit_code

    def _keep(self, got: Any, *_rest: Any) -> None:
        self.got = got

    def _refuse(self, faults: Sequence[str]) -> NoReturn:
        self.faults = list(faults)
        raise Refused


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    return Typed(monkeypatch)


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, str]:
    """Files in PEM, and one that is none."""
    authority = Authority()
    key, certificate = authority.issue("gateway")
    contents = {"ca": authority.certificate, "cert": certificate, "key": key, "junk": b"junk"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


UPSTREAM = ("gateway", "--upstream", "127.0.0.1:50051")


def test_an_upstream_is_enough(typed: Typed) -> None:
    assert typed.type(*UPSTREAM) == 0

    assert (typed.got.host, typed.got.port, typed.got.cors_origins) == ("127.0.0.1", 8080, ())
    assert typed.got.upstream == Upstream(address="127.0.0.1:50051")
    assert (typed.got.options.timeout, typed.got.options.ignores_unknown_query) == (30.0, False)


def test_every_option_reaches_its_place(typed: Typed, pem: dict[str, str]) -> None:
    tls = (
        "--tls",
        "--tls-ca",
        pem["ca"],
        "--tls-cert",
        pem["cert"],
        "--tls-key",
        pem["key"],
        "--authority",
        "a.example",
    )
    chosen = ("--allow-header", "X-Shelf", "--allow-header", "x-api-key", "--max-body", "9", "--timeout", "1.5")
    more = ("--unknown-query", "ignore", "--cors-origin", "https://a.example", "--error-domain", "d")
    reasons = ("--reason-status", "GONE=410", "--reason-status", "BUSY=503")
    hidden = ("--hide-detail", "google.rpc.RequestInfo", "--hide-detail", "a.B")
    names = ("--service", "a.A", "--service", "b.B")

    words = (*tls, *chosen, *more, *reasons, *hidden, *names)
    assert typed.type(*UPSTREAM, "--listen", "[::1]:0", *words) == 0

    content = {name: Path(path).read_bytes() for name, path in pem.items()}
    assert typed.got.upstream == Upstream(
        address="127.0.0.1:50051",
        tls=Tls(authorities=content["ca"], certificate=content["cert"], key=content["key"]),
        authority="a.example",
        services=("a.A", "b.B"),
    )
    options = typed.got.options
    assert (typed.got.host, typed.got.port, typed.got.cors_origins) == ("[::1]", 0, ("https://a.example",))
    assert (options.max_body, options.timeout, options.domain, options.ignores_unknown_query) == (9, 1.5, "d", True)
    assert options.reason_statuses == {"GONE": 410, "BUSY": 503}
    assert options.hidden_details == {"google.rpc.DebugInfo", "google.rpc.RequestInfo", "a.B"}
    assert options.request_headers[-1] == "x-shelf"
    assert options.request_headers.count("x-api-key") == 1


@pytest.mark.parametrize(
    "address", ["host", "host:", ":50051", "host:0", "host:65536", "host:+1", "::1:50051", "a/b:1"]
)
def test_an_upstream_is_a_host_and_a_port(typed: Typed, address: str) -> None:
    typed.type("gateway", "--upstream", address)

    assert typed.faults == ["--upstream: must be HOST:PORT, e.g. 127.0.0.1:50051 or [::1]:50051"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--listen", "8080"), "--listen: must be HOST:PORT"),
        (("--allow-header", "grpc-timeout"), "--allow-header: 'grpc-timeout' cannot come in"),
        (("--allow-header", "a b"), "--allow-header: 'a b' cannot come in"),
        (("--cors-origin", "*"), "--cors-origin: not an origin such as"),
        (("--max-body", "0"), "--max-body: must be 1 to"),
        (("--timeout", "0"), "--timeout: must be more than 0"),
        (("--timeout", "nan"), "--timeout: must be more than 0"),
        (("--error-domain", "d", "--reason-status", "GONE"), "--reason-status: 'GONE' must be REASON=STATUS"),
        (("--error-domain", "d", "--reason-status", "A=200"), "--reason-status: 'A=200' must be REASON=STATUS"),
        (("--error-domain", "d", "--reason-status", "A=600"), "--reason-status: 'A=600' must be REASON=STATUS"),
        (("--error-domain", "d", "--reason-status", "=409"), "--reason-status: '=409' must be REASON=STATUS"),
        (("--reason-status", "GONE=410"), "--reason-status: is for the reasons of one domain; add --error-domain"),
        (("--hide-detail", "a/b.C"), "--hide-detail: 'a/b.C' must be the full name of a message type"),
        (("--tls-ca", "x"), "--tls-ca: is for TLS; add --tls"),
        (("--tls", "--tls-ca", "/no/such"), "--tls-ca: cannot read /no/such: No such file"),
        (("--tls", "--tls-cert", "{cert}"), "--tls-key: is missing; it goes together with --tls-cert"),
        (("--tls", "--tls-key", "{key}"), "--tls-cert: is missing; it goes together with --tls-key"),
        (("--tls", "--tls-ca", "{junk}"), "--tls-ca: must be a file of certificates in PEM"),
        (("--tls", "--tls-cert", "{cert}", "--tls-key", "{junk}"), "--tls-key: must be a file with a private key"),
    ],
    ids=" ".join,
)
def test_a_bad_value_is_refused_with_its_option_and_what_would_be_right(
    typed: Typed, pem: dict[str, str], words: Words, fault: str
) -> None:
    typed.type(*UPSTREAM, *(word.format(**pem) for word in words))

    (told,) = typed.faults
    assert told.startswith(fault)
    assert typed.got is None


def test_all_faults_are_named_at_once(typed: Typed) -> None:
    typed.type("gateway", "--upstream", "x", "--listen", "x", "--max-body", "0", "--tls-ca", "x", "--cors-origin", "x")

    assert [fault.partition(":")[0] for fault in typed.faults] == [
        "--upstream",
        "--tls-ca",
        "--max-body",
        "--listen",
        "--cors-origin",
    ]


def test_what_becomes_of_unknown_parameters_has_two_answers(typed: Typed) -> None:
    assert typed.type(*UPSTREAM, "--unknown-query", "maybe") == 2


def test_the_document_takes_the_same_words_for_the_upstream(typed: Typed) -> None:
    assert typed.type("openapi", "--upstream", "host:1", "--service", "a.A", "--tls") == 0
    assert typed.got == Upstream(address="host:1", tls=Tls(), services=("a.A",))

    typed.type("openapi", "--upstream", "host")
    assert typed.faults[0].startswith("--upstream: ")


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        (None, "curl -sS http://h:1/v1/books"),
        (
            "post: '/v1/{id=a/*/b/**}:go' body: '*'",
            "curl -sS -X POST http://h:1/v1/a/1/b/1:go --json '{}'",
        ),
        ("delete: '/v1/{id}'", "curl -sS -X DELETE http://h:1/v1/1"),
        ("custom: {kind: '|sh' path: '/v1/$(id);id'}", "curl -sS -X '|sh' 'http://h:1/v1/$(id);id'"),
    ],
)
def test_the_line_to_paste_is_of_the_simplest_route(rules: str | None, line: str) -> None:
    rule = f"rpc A(M) returns (M) {{ option (google.api.http) = {{ {rules} }}; }}"
    service = SERVICE if rules is None else service_of(rule.replace("'", '"'))

    told = commands._welcome("u:2", "h:1", list(routes_of(service)))

    assert told.splitlines()[-1] == line
    assert f"of {service.full_name}" in told


def test_the_line_to_paste_is_one_command_whatever_the_rule() -> None:
    rule = r'custom: {kind: "\x27`id`\x27" path: "/v1/\x27;id;\x27"}'
    service = service_of(f"rpc A(M) returns (M) {{ option (google.api.http) = {{ {rule} }}; }}")

    line = commands._curl("h:1", list(routes_of(service)))

    assert shlex.split(line) == ["curl", "-sS", "-X", "'`id`'", "http://h:1/v1/';id;'"]
