"""What an application may not choose."""

import pytest

from server.transcoding.options import Options

BOTH_WAYS = [
    *("grpc-timeout", "grpc-*", "content-length", "content-type", "content-encoding", "te", "host", "connection"),
    *(
        "keep-alive",
        "transfer-encoding",
        "upgrade",
        "proxy-authorization",
        "Authorization",
        ":path",
        "*",
        "",
        "a b",
        "ä",
    ),
    *("a*b", "x\n"),
]


@pytest.mark.parametrize("name", BOTH_WAYS)
@pytest.mark.parametrize("option", ["request_headers", "response_headers"])
def test_headers_that_may_never_cross_are_no_options(option: str, name: str) -> None:
    with pytest.raises(ValueError, match="may not cross"):
        Options(**{option: [name]})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x-ratelimit-*", "x-ratelimit-limit", "www-authenticate", "content-language"])
def test_what_servers_say_does_not_come_in_but_goes_out(name: str) -> None:
    with pytest.raises(ValueError, match="may not cross"):
        Options(request_headers=[name])

    assert Options(response_headers=[name]).response_headers == [name]


@pytest.mark.parametrize("name", ["x-custom-*", "x-trace-bin", "x-*", "cookie", "a.b_c-1"])
def test_other_headers_may_come_in(name: str) -> None:
    assert Options(request_headers=[name]).request_headers == [name]


@pytest.mark.parametrize("challenge", ["", " ", "Bearer\r\nx: y", "Bärer"])
def test_a_challenge_is_a_headers_value(challenge: str) -> None:
    with pytest.raises(ValueError, match="challenge"):
        Options(challenge=challenge)
