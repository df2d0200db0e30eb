"""Messages of anyone's schema: proto2, editions, odd names, long chains of types."""

import json
import keyword
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from server.transcoding.codec.message import Codecs, MessageCodec
from server.transcoding.codec.required import missing_fields
from tests.unit.transcoding.codec.reading import attempt, codec_of

_OLD = """
syntax = "proto2"; package old;
import "google/protobuf/any.proto";
message Old {
  required int32 id = 1;
  optional string text = 2 [default = "unset"];
  optional group Inside = 3 { optional int32 deep = 1; }
  repeated group Piece = 4 { optional int32 size = 1; }
  enum Kind { NONE = 0; ONE = 1; }
  optional Kind kind = 5;
  repeated Kind kinds = 6;
  map<string, Kind> kind_by_name = 7;
  optional Old child = 8;
  repeated Old children = 9;
  map<string, Old> by_name = 10;
  optional google.protobuf.Any any = 11;
  repeated string texts = 12;
  map<string, string> labels = 13;
  extensions 100 to 200;
}
message Wrapping { optional Wrapping self = 1; optional Old old = 2; }
message Free { optional Free self = 1; }
extend Old { optional Old more = 100; }
"""
OLD = codec_of(_OLD, "old.Old")

_EDITION = """
edition = "2023"; package new;
message New {
  int32 id = 1 [features.field_presence = LEGACY_REQUIRED];
  New child = 2 [features.message_encoding = DELIMITED];
  repeated New children = 3 [features.message_encoding = DELIMITED];
  string plain = 4 [features.field_presence = IMPLICIT];
  string bare = 5 [features.utf8_validation = NONE];
  Kind kind = 6;
}
enum Kind { option features.enum_type = CLOSED; ONE = 1; TWO = 2; }
"""

_METHODS = sorted(name for name in dir(Message) if name[0] != "_" or name == "_SetListener")
_ODD = [*_METHODS, "Extensions", "self", "__class__", "__init__", *keyword.kwlist]


def _odd_codec() -> MessageCodec:
    fields = "".join(f"optional string {name} = {100 + index};" for index, name in enumerate(_ODD))
    return codec_of(
        f"""syntax = "proto3"; package odd;
        message Odd {{
          {fields}
          Odd child = 1; repeated Odd children = 2; map<string, Odd> by_name = 3;
          oneof both {{ int32 left = 4; int32 right = 5; Odd middle = 6; }}
        }}""",
        "odd.Odd",
    )


def test_a_field_may_have_any_name() -> None:
    codec = _odd_codec()
    named = {name: name.lower() for name in _ODD}
    body = json.dumps({**named, "child": named, "children": [named], "byName": {"a": named}, "left": 1})

    message, faults = attempt(codec, body)

    assert faults == []
    assert codec.write(message)["child"] == {
        **{codec.fields[name].json_name: text for name, text in named.items()},
        "children": [],
        "byName": {},
    }
    assert list(missing_fields(message)) == []
    assert attempt(codec, '{"left": 1, "right": 2}')[1] == [("right", "cannot be given together with left")]


def test_a_json_name_goes_before_another_field_of_that_name() -> None:
    file = FileDescriptorProto(name="crossed.proto", syntax="proto3")
    kind = file.message_type.add(name="Crossed")
    kind.field.add(name="a", json_name="b", number=1, type=FieldDescriptorProto.TYPE_INT32)
    kind.field.add(name="b", json_name="c", number=2, type=FieldDescriptorProto.TYPE_INT32)
    pool = DescriptorPool()
    pool.Add(file)
    codec = Codecs().of(pool.FindMessageTypeByName("Crossed"))

    message, faults = attempt(codec, '{"b": 1, "c": 2}')

    assert faults == []
    assert (message.a, message.b) == (1, 2)
    assert codec.write(message) == {"b": 1, "c": 2}


def test_a_chain_of_types_longer_than_the_stack_is_compiled() -> None:
    chain = "".join(f"message M{index} {{ M{index + 1} next = 1; }}" for index in range(300))
    codec = codec_of(f'syntax = "proto3"; package chain; {chain} message M300 {{ int32 end = 1; }}', "chain.M0")

    assert attempt(codec, '{"next": {"next": {"end": 1}}}')[1] == [("next.next.end", "is not a known field")]
    assert codec.descriptor not in Codecs().requiring


def test_proto2_is_read_and_written() -> None:
    body = '{"id": 0, "inside": {"deep": 1}, "piece": [{"size": 2}, {}], "kinds": ["ONE", 0], "kindByName": {"a": 1}}'

    message, faults = attempt(OLD, body)

    assert faults == []
    written = OLD.write(message)
    assert written == {
        "id": 0,
        "inside": {"deep": 1},
        "piece": [{"size": 2}, {}],
        "kinds": ["ONE", "NONE"],
        "kindByName": {"a": "ONE"},
        "children": [],
        "byName": {},
        "texts": [],
        "labels": {},
    }


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('{"kind": 2}', "kind"),
        ('{"kinds": [1, 2]}', "kinds[1]"),
        ('{"kindByName": {"a": 2}}', 'kindByName["a"]'),
        ('{"[old.more]": {"id": 1}}', "[old.more]"),
        ('{"Inside": {}}', "Inside"),
        ('{"any": {"@type": "x/old.Old", "text": "a"}}', "any.id"),
        ('{"any": {"@type": "x/old.Old", "id": 1, "children": [{}]}}', "any.children[0].id"),
    ],
)
def test_a_fault_in_proto2_is_refused(body: str, path: str) -> None:
    assert [field for field, _ in attempt(OLD, body)[1]] == [path]


def test_extensions_are_not_shown() -> None:
    message: Any = OLD.message_class(id=1)
    message.Extensions[OLD.descriptor.file.extensions_by_name["more"]].id = 2

    assert [name for name, value in OLD.write(message).items() if value] == ["id"]


def test_text_that_is_not_utf8_is_still_written() -> None:
    message: Any = OLD.message_class.FromString(b"\x08\x01\x12\x01\xff\x62\x01\xff\x6a\x06\x0a\x01a\x12\x01\xff")

    written = OLD.write(message)

    assert (written["text"], written["texts"], written["labels"]) == ("\ufffd", ["\ufffd"], {"a": "\ufffd"})


def test_editions_are_read_and_written() -> None:
    codec = codec_of(_EDITION, "new.New")

    message, faults = attempt(
        codec, '{"id": 1, "child": {"id": 2, "bare": ""}, "children": [{"id": 3}], "kind": "TWO"}'
    )

    assert faults == []
    assert codec.write(message) == {
        "id": 1,
        "child": {"id": 2, "children": [], "bare": ""},
        "children": [{"id": 3, "children": []}],
        "kind": "TWO",
    }
    assert [field for field, _ in attempt(codec, '{"kind": 3, "plain": 1}')[1]] == ["kind", "plain"]


def test_every_missing_required_field_is_found() -> None:
    message: Any = OLD.message_class()
    message.inside.deep = 1
    message.child.SetInParent()
    message.children.add(id=1)
    message.children.add()
    message.by_name['a"b'].text = "x"
    message.kind_by_name["x"] = 1
    message.labels["x"] = "y"
    more = message.DESCRIPTOR.file.extensions_by_name["more"]
    message.Extensions[more].SetInParent()

    assert list(missing_fields(message)) == ["id", "child.id", "children[1].id", 'by_name["a\\"b"].id']


def test_whether_a_type_has_required_fields_is_known() -> None:
    pool, requiring = OLD.descriptor.file.pool, Codecs().requiring

    assert OLD.descriptor in requiring
    assert pool.FindMessageTypeByName("old.Wrapping") in requiring
    assert pool.FindMessageTypeByName("old.Free") not in requiring
    assert _odd_codec().descriptor not in Codecs().requiring
