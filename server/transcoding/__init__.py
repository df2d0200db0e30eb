"""HTTP/JSON to gRPC by `google.api.http`, in process: strict, generic, and without a hop.

Nothing here knows the rest of this product: it imports the standard library, grpc, protobuf, googleapis-common-protos
and orjson. `app.Transcoder` is the way in; `openapi.document.document` describes the same routes.
"""
