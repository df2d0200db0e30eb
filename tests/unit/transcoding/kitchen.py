"""A service with every field type and every kind of route, compiled from text when the tests start."""

import tempfile
from pathlib import Path
from typing import Any

import grpc_tools  # type: ignore[import-untyped]
from google.api import annotations_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc

_PROTO = """
syntax = "proto3";
package kitchen.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

// Sink has a field of every type.
message Sink {
  double a_double = 1;
  float a_float = 2;
  int32 an_int32 = 3;
  int64 an_int64 = 4;
  uint32 a_uint32 = 5;
  uint64 a_uint64 = 6;
  sint32 a_sint32 = 7;
  sint64 a_sint64 = 8;
  fixed32 a_fixed32 = 9;
  fixed64 a_fixed64 = 10;
  sfixed32 a_sfixed32 = 11;
  sfixed64 a_sfixed64 = 12;
  bool a_bool = 13;
  string a_string = 14;
  bytes some_bytes = 15;
  Color color = 16;
  Sink child = 17;
  repeated int32 nums = 18;
  repeated int64 longs = 19;
  repeated string words = 20;
  repeated Color colors = 21;
  repeated Sink children = 22;
  repeated bytes blobs = 23;
  map<string, string> labels = 24;
  map<int64, Sink> sinks = 25;
  map<bool, int32> flags = 26;
  optional int32 maybe_int = 27;
  optional string maybe_string = 28;
  oneof choice {
    string left = 29;
    int32 right = 30;
    Sink middle = 31;
    google.protobuf.NullValue none = 32;
  }
  string renamed = 33 [json_name = "otherName"];
  map<string, Color> palette = 34;
  google.protobuf.NullValue null_field = 35;
  repeated double doubles = 36;
  google.protobuf.Timestamp time = 40;
  google.protobuf.Duration duration = 41;
  google.protobuf.FieldMask mask = 42;
  google.protobuf.Struct struct = 43;
  google.protobuf.Value value = 44;
  google.protobuf.ListValue list = 45;
  google.protobuf.Any any = 46;
  google.protobuf.Empty empty = 47;
  google.protobuf.StringValue string_value = 48;
  google.protobuf.Int64Value int64_value = 49;
  google.protobuf.BoolValue bool_value = 50;
  google.protobuf.DoubleValue double_value = 51;
  google.protobuf.BytesValue bytes_value = 52;
  repeated google.protobuf.Timestamp times = 53;
  repeated google.protobuf.Value values = 54;
}

// Color is a color.
enum Color {
  // None.
  COLOR_UNSPECIFIED = 0;
  // Red.
  COLOR_RED = 1;
  // Green.
  COLOR_GREEN = 2;
}

message Quota { Inner inner = 1; }
message Inner { repeated int32 nums = 1; string deep_name = 2; }

message Book {
  string name = 1;
  string title = 2;
  int32 page_count = 3;
  Quota quota = 4;
  repeated string tags = 5;
  google.protobuf.Timestamp published_at = 6;
}
message GetBookRequest { string name = 1; }
message UpdateBookRequest { Book book = 1; google.protobuf.FieldMask update_mask = 2; bool allow_missing = 3; }
message PatchBookRequest {
  string name = 1; string title = 2; Quota quota = 3; google.protobuf.FieldMask update_mask = 4;
}
message SearchRequest {
  string query = 1;
  int32 page_size = 2;
  repeated string tags = 3;
  Inner inner = 4;
  bool exact = 5;
  Color color = 6;
  google.protobuf.Timestamp since = 7;
  int64 big = 8;
  map<string, string> labels = 9;
  repeated Inner inners = 10;
  google.protobuf.StringValue note = 11;
  oneof which { string one = 12; string two = 13; }
}
message UploadRequest { string name = 1; google.api.HttpBody file = 2; string note = 3; }
message SearchResponse { repeated Book books = 1; string next_page_token = 2; }

service Kitchen {
  rpc PutSink(Sink) returns (Sink) { option (google.api.http) = {post: "/v1/sinks" body: "*"}; }
  rpc GetBook(GetBookRequest) returns (Book) {
    option (google.api.http) = {
      get: "/v1/{name=shelves/*/books/*}"
      additional_bindings {get: "/v1/files/{name=**}"}
      additional_bindings {get: "/v1/books/{name}"}
    };
  }
  rpc UpdateBook(UpdateBookRequest) returns (Book) {
    option (google.api.http) = {patch: "/v1/{book.name=shelves/*/books/*}" body: "book"};
  }
  rpc PatchBook(PatchBookRequest) returns (Book) { option (google.api.http) = {patch: "/v1/books/{name}" body: "*"}; }
  rpc DeleteBook(GetBookRequest) returns (google.protobuf.Empty) {
    option (google.api.http) = {delete: "/v1/books/{name}"};
  }
  rpc BurnBook(GetBookRequest) returns (Book) { option (google.api.http) = {post: "/v1/books/{name}:burn" body: "*"}; }
  rpc Retitle(PatchBookRequest) returns (Book) {
    option (google.api.http) = {patch: "/v1/books/{name}/title" body: "title"};
  }
  rpc Search(SearchRequest) returns (SearchResponse) { option (google.api.http) = {get: "/v1/books"}; }
  rpc Titles(SearchRequest) returns (SearchResponse) {
    option (google.api.http) = {get: "/v1/books:titles" response_body: "books"};
  }
  rpc Watch(SearchRequest) returns (stream Book) { option (google.api.http) = {get: "/v1/books:watch"}; }
  rpc Import(stream Book) returns (SearchResponse) {
    option (google.api.http) = {post: "/v1/books:import" body: "*"};
  }
  rpc Chat(stream Book) returns (stream Book) { option (google.api.http) = {post: "/v1/books:chat" body: "*"}; }
  rpc Download(GetBookRequest) returns (google.api.HttpBody) {
    option (google.api.http) = {get: "/v1/books/{name}:download"};
  }
  rpc DownloadAll(SearchRequest) returns (stream google.api.HttpBody) {
    option (google.api.http) = {get: "/v1/books:download"};
  }
  rpc Upload(UploadRequest) returns (Book) {
    option (google.api.http) = {post: "/v1/books/{name}:upload" body: "file"};
  }
  rpc UploadAll(stream google.api.HttpBody) returns (Book) {
    option (google.api.http) = {post: "/v1/books:upload" body: "*"};
  }
  rpc Reflect(google.api.HttpBody) returns (google.api.HttpBody) {
    option (google.api.http) = {post: "/v1/reflect" body: "*"};
  }
}
"""


def compile_proto(text: str, imports: Path | None = None) -> FileDescriptorSet:
    """Compile one file, with its imports and comments; `imports` is a compiled set of files that it may import too."""
    name = "kitchen.proto"
    protobuf_includes = Path(grpc_tools.__file__).parent / "_proto"
    api_includes = Path(annotations_pb2.__file__).parent.parent.parent
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_text(text)
        image = Path(folder, "image")
        arguments = ["protoc", f"-I{folder}", f"-I{protobuf_includes}", f"-I{api_includes}", "--include_imports"]
        if imports is not None:
            arguments = ["protoc", f"-I{folder}", f"--descriptor_set_in={imports}", "--include_imports"]
        failed = protoc.main(
            [*arguments, "--include_source_info", f"--descriptor_set_out={image}", str(Path(folder, name))]
        )
        assert not failed
        return FileDescriptorSet.FromString(image.read_bytes())


def pool_of(files: FileDescriptorSet) -> DescriptorPool:
    """Return a pool that holds the files."""
    pool = DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


FILES = compile_proto(_PROTO)
POOL = pool_of(FILES)
SERVICE: ServiceDescriptor = POOL.FindServiceByName("kitchen.v1.Kitchen")


def descriptor(name: str) -> Descriptor:
    """Return a message type of the kitchen, or any other by its full name."""
    return POOL.FindMessageTypeByName(name if "." in name else f"kitchen.v1.{name}")


def message(name: str) -> Any:
    """Return the class of a message type of the kitchen."""
    return message_factory.GetMessageClass(descriptor(name))


def service_of(text: str) -> ServiceDescriptor:
    """Compile a service named `S` whose body is `text`, on M{string id, other; M child; repeated string many}."""
    files = compile_proto(
        'syntax = "proto3"; package t; import "google/api/annotations.proto";'
        "message M { string id = 1; string other = 2; M child = 3; repeated string many = 4; }"
        f"service S {{ {text} }}"
    )
    return pool_of(files).FindServiceByName("t.S")
