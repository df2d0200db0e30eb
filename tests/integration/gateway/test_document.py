"""`openapi` in front of descriptors that make no sense: one sentence that names what is wrong, and the status 1."""

from collections.abc import Callable
from typing import Any

import pytest
import typer
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from server.gateway import commands
from server.gateway.upstream import Upstream
from tests.integration.gateway.test_reflection import answering, file_of, giving
from tests.integration.gateway.upstream import Upstreams
from tests.unit.transcoding.kitchen import compile_proto

ODD = b"\xff"

Change = Callable[[FileDescriptorProto], bytes]


def proto(*rpcs: str, field: str = "string id = 1;") -> FileDescriptorProto:
    """Compile a service `h.S` of RPCs, each given as its name and its rule, on messages with one field."""
    made = [rpc.partition(" ") for rpc in rpcs]
    methods = [f"rpc {name}(M) returns (M) {{ option (google.api.http) = {rule}; }}" for name, _, rule in made]
    return compile_proto(
        f'syntax = "proto3"; package h; import "google/api/annotations.proto";'
        f"\n\n/* About M. */\nmessage M {{ {field} }} service S {{ {' '.join(methods)} }}"
    ).file[-1]


def replaced(file: FileDescriptorProto, text: bytes) -> bytes:
    """Write a file with a text in it that is not UTF-8."""
    octets = file.SerializeToString()
    assert text in octets
    return octets.replace(text, ODD * len(text))


GOOD, TWIN = 'Get {get: "/v1/m"}', 'Twin {get: "/v1/m"}'

CASES: dict[str, tuple[FileDescriptorProto | bytes, str]] = {
    "a rule without a path": (
        proto(GOOD, "Bad {}"),
        "The upstream has google.api.http rules that cannot be served: h.S.Bad has a rule without a path.",
    ),
    "a second rule that binds no field": (
        proto(GOOD, 'Bad {get: "/v1/m/{id}" additional_bindings {get: "/v2/{none}"}}'),
        "The upstream has google.api.http rules that cannot be served: "
        "h.S.Bad: /v2/{none} binds 'none', which is no singular scalar field.",
    ),
    "two rules for the same requests": (
        proto(GOOD, TWIN),
        "The upstream has google.api.http rules that cannot be served: "
        "h.S.Get and h.S.Twin both claim GET /v1/m (the second as /v1/m).",
    ),
    "a name in JSON that is not UTF-8": (
        replaced(proto(GOOD, field='string id = 1 [json_name = "zz"];'), b"zz"),
        "The OpenAPI document cannot be made: what h.S.Get takes or gives cannot be described (UnicodeDecodeError).",
    ),
    "a comment that is not UTF-8": (
        replaced(proto(GOOD), b"About M."),
        "The OpenAPI document cannot be made: something in the upstream's proto files cannot be described (TypeError).",
    ),
    "a name of a service that is not UTF-8": (
        replaced(file_of("s.proto", service="zz"), b"zz"),
        "The upstream's reflection gives files that are no FileDescriptorProto.",
    ),
    "a name of a file that is not UTF-8": (
        replaced(file_of("zz.proto", service="S"), b"zz"),
        "The upstream's reflection gives files that are no FileDescriptorProto.",
    ),
    "an import that is not UTF-8": (
        replaced(file_of("s.proto", "zz.proto", service="S"), b"zz"),
        "The upstream's reflection gives files that are no FileDescriptorProto.",
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_is_wrong_is_named(upstreams: Upstreams, capsys: pytest.CaptureFixture[str], name: str) -> None:
    file, sentence = CASES[name]
    printed: list[str] = []
    await upstreams.start(reflection=answering(lambda _: giving(file)))

    with pytest.raises(typer.Exit) as ended:
        await commands._print_openapi(Upstream(address=upstreams.address), printed.append)

    assert (ended.value.exit_code, printed) == (1, [])
    assert capsys.readouterr().err == f"{sentence}\n"


async def test_rules_of_fields_that_are_none_name_the_rpc(
    upstreams: Upstreams, capsys: pytest.CaptureFixture[str]
) -> None:
    """The extension of buf.validate is known by its name alone, and an upstream's own may be anything."""
    fake = FileDescriptorProto(name="v.proto", package="buf.validate", dependency=["google/protobuf/descriptor.proto"])
    kind = {"number": 1159, "label": "LABEL_OPTIONAL", "type": "TYPE_INT32"}
    fake.extension.add(name="field", extendee=".google.protobuf.FieldOptions", **kind)
    file = proto(GOOD, 'Bad {post: "/v1/bad" body: "*"}')
    file.dependency.append("v.proto")
    file.message_type.add(name="N").field.add(name="id", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    file.message_type[-1].field[0].options.MergeFromString(b"\xb8\x48\x01")  # 1159: 1
    file.service[0].method[1].input_type = ".h.N"

    def answer(question: Any) -> Any:
        return giving(fake if question.file_by_filename == "v.proto" else file)

    await upstreams.start(reflection=answering(answer))

    with pytest.raises(typer.Exit):
        await commands._print_openapi(Upstream(address=upstreams.address), print)

    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "The OpenAPI document cannot be made: what h.S.Bad takes or gives cannot be described (AttributeError)."
    )
