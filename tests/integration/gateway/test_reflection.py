"""What upstreams say of themselves, in either version of reflection; and what they may say without doing harm."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionResponse

from server.gateway import files, reflection
from server.gateway.catalogue import link, openapi_of
from server.gateway.files import CannotLearn
from server.gateway.reflection import describe
from server.gateway.upstream import Upstream, open_channel
from tests.integration.gateway.upstream import Upstreams
from tests.unit.transcoding.kitchen import FILES, compile_proto

KITCHEN = "kitchen.v1.Kitchen"
BY_NAME = {file.name: file for file in FILES.file}

Answer = Callable[[Any], ServerReflectionResponse | bytes]


def listing(*names: str) -> ServerReflectionResponse:
    answer = ServerReflectionResponse()
    for name in names:
        answer.list_services_response.service.add(name=name)
    return answer


def giving(*given: FileDescriptorProto | bytes) -> ServerReflectionResponse:
    answer = ServerReflectionResponse()
    contents = [file if isinstance(file, bytes) else file.SerializeToString() for file in given]
    answer.file_descriptor_response.file_descriptor_proto.extend(contents)
    return answer


def unknown() -> ServerReflectionResponse:
    answer = ServerReflectionResponse()
    answer.error_response.error_code = 5
    return answer


def file_of(name: str, *imports: str, service: str = "") -> FileDescriptorProto:
    file = FileDescriptorProto(name=name, package="h", dependency=imports, syntax="proto3")
    if service:
        file.service.add(name=service)
    return file


def answering(answer: Answer) -> Any:
    """Make a reflection that answers each question by itself; the list has `h.S` unless `answer` gives another."""

    async def info(questions: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        async for question in questions:
            if question.HasField("list_services"):
                yield listing("h.S")
            else:
                yield answer(question)

    return info


async def learned(upstreams: Upstreams, *wanted: str) -> reflection.Description:
    async with open_channel(Upstream(address=upstreams.address)) as channel:
        return await describe(channel, wanted)


@pytest.mark.parametrize("versions", [("v1",), ("v1alpha",), ("v1", "v1alpha")], ids=str)
async def test_either_version_is_enough(upstreams: Upstreams, versions: tuple[str, ...]) -> None:
    await upstreams.start(versions=versions)

    description = await learned(upstreams)

    assert description.services == (KITCHEN,)
    assert {file.name for file in description.files} == set(BY_NAME)


async def test_only_wanted_services_are_learned_and_unknown_ones_are_named(upstreams: Upstreams) -> None:
    await upstreams.start()

    assert (await learned(upstreams, KITCHEN)).services == (KITCHEN,)
    with pytest.raises(CannotLearn, match=rf"no service 'no\.Such'; it lists .*{KITCHEN}"):
        await learned(upstreams, KITCHEN, "no.Such")


async def test_imports_are_asked_for_one_by_one_where_they_do_not_come_along(upstreams: Upstreams) -> None:
    asked = []

    def answer(question: Any) -> ServerReflectionResponse:
        asked.append(question.file_by_filename or question.file_containing_symbol)
        if question.file_containing_symbol:
            return giving(file_of("s.proto", "a.proto", "google/protobuf/any.proto", "b.proto", service="S"))
        return giving(file_of(question.file_by_filename, *(["b.proto"] if question.file_by_filename[0] == "a" else [])))

    await upstreams.start(reflection=answering(answer))

    order = [file.name for file in (await learned(upstreams)).files]

    assert asked == ["h.S", "a.proto", "b.proto"]
    assert set(order) == {"s.proto", "a.proto", "b.proto", "google/protobuf/any.proto"}
    assert order.index("b.proto") < order.index("a.proto") < order.index("s.proto")


async def test_files_of_googles_that_it_does_not_have_are_taken_from_here(upstreams: Upstreams) -> None:
    kitchen = BY_NAME["kitchen.proto"]

    def answer(question: Any) -> ServerReflectionResponse:
        return giving(kitchen) if question.file_containing_symbol else unknown()

    async def info(questions: Any, context: Any) -> AsyncIterator[Any]:
        async for question in questions:
            yield listing(KITCHEN) if question.HasField("list_services") else answer(question)

    await upstreams.start(reflection=info)

    catalogue = link(await learned(upstreams))

    assert [service.full_name for service in catalogue.services] == [KITCHEN]
    assert catalogue.services[0].file.pool is not descriptor_pool.Default()
    assert "/v1/sinks" in openapi_of(catalogue)["paths"]


async def test_its_own_idea_of_a_timestamp_does_not_count(upstreams: Upstreams) -> None:
    forged = FileDescriptorProto(name="google/protobuf/timestamp.proto", package="google.protobuf", syntax="proto3")
    forged.message_type.add(name="Timestamp").field.add(name="seconds", number=1, type="TYPE_STRING")
    await upstreams.start(reflection=answering(lambda _: giving(forged, file_of("s.proto", forged.name, service="S"))))

    found = {file.name: file for file in (await learned(upstreams)).files}

    (timestamp,) = found[forged.name].message_type
    assert [field.name for field in timestamp.field] == ["seconds", "nanos"]


async def test_files_by_the_names_of_ours_are_its_own(upstreams: Upstreams) -> None:
    name = "sdk/developer/v1/developer_service.proto"
    ours = descriptor_pool.Default().FindFileByName(name).serialized_pb
    (other,) = compile_proto(
        'syntax = "proto3"; package sdk.developer.v1; import "google/api/annotations.proto"; message M {}'
        'service DeveloperService { rpc Other(M) returns (M) { option (google.api.http) = {get: "/v1/other"}; } }'
    ).file[-1:]
    other.name = name
    await upstreams.start(reflection=answering(lambda _: giving(other)))

    catalogue = link(await learned(upstreams, "sdk.developer.v1.DeveloperService"))

    assert [method.name for method in catalogue.services[0].methods] == ["Other"]
    assert descriptor_pool.Default().FindFileByName(name).serialized_pb == ours


async def test_an_import_that_nobody_has_is_needed_only_where_it_is_used(upstreams: Upstreams) -> None:
    file = file_of("s.proto", "lost/options.proto", "google/api/lost.proto", service="S")
    uses = FileDescriptorProto.FromString(file.SerializeToString())
    uses.message_type.add(name="M").field.add(name="f", number=1, type="TYPE_MESSAGE", type_name=".lost.Type")

    def given(first: FileDescriptorProto) -> Answer:
        return lambda question: giving(first) if question.file_containing_symbol else unknown()

    await upstreams.start(reflection=answering(given(file)))
    with pytest.raises(CannotLearn, match="annotate those to serve"):  # linked; but there is nothing to serve
        link(await learned(upstreams))
    await upstreams.stop()
    await upstreams.start(reflection=answering(given(uses)))
    with pytest.raises(CannotLearn, match="do not fit together"):
        link(await learned(upstreams))


async def test_a_listed_service_that_it_cannot_describe_is_left_out(upstreams: Upstreams) -> None:
    async def info(questions: Any, _context: Any) -> AsyncIterator[Any]:
        async for question in questions:
            if question.HasField("list_services"):
                yield listing("h.S", "h.T", "h.\x1b[31m")
            else:
                wanted = question.file_containing_symbol
                yield giving(file_of("s.proto", service="S")) if wanted == "h.S" else unknown()

    await upstreams.start(reflection=info)

    assert (await learned(upstreams)).services == ("h.S",)


HOSTILE: dict[str, tuple[Answer, str]] = {
    "a circle": (
        lambda question: giving(
            file_of("s.proto", "a.proto", service="S")
            if question.file_containing_symbol
            else file_of("a.proto", "s.proto")
        ),
        "in a circle",
    ),
    "itself": (lambda _: giving(file_of("s.proto", "s.proto", service="S")), "in a circle"),
    "files without end": (
        lambda question: giving(
            file_of(f"{question.file_by_filename or 's'}x", f"{question.file_by_filename or 's'}xx", service="S")
        ),
        "more than 20 proto files",
    ),
    "another file than asked for": (
        lambda question: giving(file_of("other.proto", f"{len(question.file_by_filename)}x.proto")),
        "describes none",
    ),
    "too many bytes": (
        lambda _: giving(*(file_of(f"{number}.proto", "x" * 200) for number in range(20))),
        "more than 3,000 bytes",
    ),
    "no file": (lambda _: giving(b"\xff\xff"), "no FileDescriptorProto"),
    "no answer": (lambda _: b"\xff\xff", "no ServerReflectionResponse"),
    "an answer to another question": (lambda _: listing("x"), "describes none"),
    "a message too large for the channel": (lambda _: b"x" * (17 * 1024 * 1024), "RESOURCE_EXHAUSTED"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_harm_is_refused(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    answer, sentence = HOSTILE[name]
    monkeypatch.setattr(files, "MAXIMUM_FILES", 20)
    monkeypatch.setattr(files, "MAXIMUM_BYTES", 3_000)
    await upstreams.start(reflection=answering(answer))

    with pytest.raises(CannotLearn, match=sentence):
        link(await learned(upstreams))


async def test_too_many_services_are_refused(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflection, "MAXIMUM_SERVICES", 1)

    async def info(_questions: Any, _context: Any) -> AsyncIterator[Any]:
        yield listing("a.A", "b.B")

    await upstreams.start(reflection=info)

    with pytest.raises(CannotLearn, match="--service"):
        await learned(upstreams)


async def test_of_answers_without_end_one_is_read(upstreams: Upstreams) -> None:
    async def info(_questions: Any, _context: Any) -> AsyncIterator[Any]:
        while True:
            yield listing()

    await upstreams.start(reflection=info)

    with pytest.raises(CannotLearn, match="lists no services"):
        await learned(upstreams)


async def test_silence_is_not_waited_for_for_ever(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflection, "MAXIMUM_SECONDS", 0.05)

    async def info(questions: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        heard = [question async for question in questions]
        for _ in heard[1:]:
            yield listing()

    async def silent(questions: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for question in questions:
            if question.HasField("list_services"):
                yield listing("h.S")

    await upstreams.start(reflection=info)
    with pytest.raises(CannotLearn, match="ends before it has answered"):
        await learned(upstreams)
    await upstreams.stop()
    await upstreams.start(reflection=silent)
    with pytest.raises(CannotLearn, match="took more than"):
        await learned(upstreams)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "refuses the gateway"),
        (grpc.StatusCode.PERMISSION_DENIED, "refuses the gateway"),
        (grpc.StatusCode.UNIMPLEMENTED, "no server reflection; turn it on"),
        (grpc.StatusCode.INTERNAL, "failed with INTERNAL"),
    ],
    ids=str,
)
async def test_a_reflection_that_fails_is_told_of(upstreams: Upstreams, code: grpc.StatusCode, sentence: str) -> None:
    async def info(_questions: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(code, "its words")
        yield

    await upstreams.start(reflection=info)

    with pytest.raises(CannotLearn, match=sentence):
        await learned(upstreams)


async def test_nobody_there_is_told_of(upstreams: Upstreams) -> None:
    with pytest.raises(CannotLearn, match="cannot be reached"):
        await learned(upstreams)


async def test_a_rule_that_cannot_be_served_names_its_method(upstreams: Upstreams) -> None:
    broken = file_of("s.proto", "google/api/annotations.proto", service="S")
    method = broken.service[0].method.add(name="Get", input_type=".h.M", output_type=".h.M")
    broken.message_type.add(name="M")
    method.options.MergeFromString(b"\x82\xd3\xe4\x93\x02\x06\x12\x04/{x}")
    await upstreams.start(reflection=answering(lambda _: giving(broken)))

    with pytest.raises(CannotLearn, match=r"h\.S\.Get"):
        link(await learned(upstreams))
