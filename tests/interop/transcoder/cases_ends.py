"""How calls end: every status code, details of errors, metadata in and out, deadlines."""

from tests.interop.transcoder.case import Case, get, post

FAILURES: tuple[Case, ...] = (
    *(get(f"/e/fail/{code}?message=gone%20wrong") for code in range(1, 17)),
    get("/e/fail/5"),
    get("/e/fail/5?message=%C3%A9%0A%F0%9F%92%BE%25"),
    *(get(f"/e/fail/{code}?message=m&details=info") for code in (3, 5, 9)),
    get("/e/fail/3?message=m&details=bad"),
    get("/e/fail/14?message=m&details=retry"),
    get("/e/fail/8?message=m&details=info&details=retry"),
    get("/e/fail/5?message=m&details=help"),
    get("/e/fail/3?message=m&details=info&details=bad&details=retry&details=help"),
)
"""Ends of calls that Envoy can tell in full."""
ERRORS: tuple[Case, ...] = (
    *FAILURES,
    get("/e/fail/0?message=gone%20well"),
    get("/e/fail/5?message=m&details=strange"),
    get("/e/fail/5?message=m&details=strange&details=info"),
    get("/e/fail/x"),
    get("/e/fail/5?details=bad&unknown=1"),
    get("/e/break"),
    get("/e/missing"),
)
METADATA: tuple[Case, ...] = (
    get("/e/tell"),
    get("/e/tell", ("authorization", "Bearer x")),
    get("/e/tell", ("Authorization", "Bearer x"), ("AUTHORIZATION", "Bearer y")),
    get("/e/tell", ("x-api-key", "k"), ("x-request-id", "0aa1c1c1-8b3c-4e2c-9d5b-2f0e1c3b4a5d"), ("x-custom", "c")),
    get("/e/tell", ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    get("/e/tell", ("accept-language", "ar, en;q=0.5")),
    get("/e/tell", ("x-custom", "a"), ("x-custom", "b")),
    get("/e/tell", ("x-custom", "a, b")),
    get("/e/tell", ("x-custom", "  a b  ")),
    get("/e/tell", ("x-custom", "")),
    get("/e/tell", ("x-custom", "é")),
    get("/e/tell", ("x-blob-bin", "aGk=")),
    get("/e/tell", ("x-blob-bin", "aGk")),
    get("/e/tell", ("x-blob-bin", "!!")),
    get("/e/tell", ("x-rpc", "forged")),
)
DEADLINES: tuple[Case, ...] = (
    get("/e/hang", ("grpc-timeout", "50m")),
    get("/e/hang", ("grpc-timeout", "1n")),
    get("/e/tell?flag=true"),
    get("/e/tell?flag=true", ("grpc-timeout", "5S")),
    get("/p/literal", ("grpc-timeout", "99999999H")),
    get("/p/literal", ("grpc-timeout", "soon")),
    get("/p/literal", ("grpc-timeout", "5")),
    get("/p/literal", ("grpc-timeout", "-1S")),
    get("/p/literal", ("grpc-timeout", "123456789S")),
    get("/e/hang", ("x-server-timeout", "0.05"), ("grpc-timeout", "60m")),
    get("/p/literal", ("x-server-timeout", "soon")),
    post("/p/several/1", "{}", ("grpc-timeout", "5S"), method="PUT"),
    get("/s/count?to=2", ("grpc-timeout", "5S")),
)
