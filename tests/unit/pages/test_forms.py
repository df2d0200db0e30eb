"""What is read as a form, and what is refused before anyone looks at it."""

from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from server.pages.forms import LIMIT, parse_form, read_form
from server.web.asgi import Message
from tests.unit.pages.site_under_test import DRAWN, ORIGIN, app_of, signed_client, site_of, token_for

FORM = "application/x-www-form-urlencoded"


def request_of(*chunks: bytes, media_type: str | None = FORM, length: str | None = None) -> Request:
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return waiting.pop(0)

    given_headers = {"content-type": media_type, "content-length": length}
    headers = [(name.encode(), value.encode()) for name, value in given_headers.items() if value is not None]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def test_fields_are_read_with_their_line_ends_as_line_feeds() -> None:
    form = await read_form(request_of(b"a=1&b=x%0D%0Ay%0Dz%0", b"Aw&a=2&empty=&plus=a+b%2Bc&bare"))
    assert form.text("a") == "1"
    assert form.all("a") == ["1", "2"]
    assert form.text("b") == "x\ny\nz\nw"
    assert (form.text("empty"), form.text("bare"), form.text("absent")) == ("", "", "")
    assert form.all("absent") == []
    assert form.text("plus") == "a b+c"
    assert "empty" in form
    assert "absent" not in form


TEXTS = st.text(st.characters(exclude_characters="\0\r", codec="utf-8"))


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8))
def test_what_a_browser_encodes_comes_back(pairs: list[tuple[str, str]]) -> None:
    form = parse_form(urlencode(pairs).encode())
    for name, _ in pairs:
        assert form.all(name) == [value for other, value in pairs if other == name]


@pytest.mark.parametrize(
    "body",
    [b"a=%FF", b"a=%C0%AF", b"a=%ED%A0%80", b"%FF=a", b"a=\xc3\xa9", b"a=%00", b"a%00=1", b"&".join([b"a=1"] * 501)],
)
async def test_what_is_not_text_is_refused(body: bytes) -> None:
    with pytest.raises(HTTPException) as refused:
        await read_form(request_of(body))
    assert refused.value.status_code == 400


@pytest.mark.parametrize("media_type", [f"{FORM}; charset=utf-8", f"{FORM};charset=UTF-8", FORM.upper()])
async def test_a_form_may_say_that_it_is_utf_8(media_type: str) -> None:
    assert (await read_form(request_of(b"a=1", media_type=media_type))).text("a") == "1"


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "text/plain",
        "application/json",
        "multipart/form-data; boundary=x",
        f"{FORM}; charset=latin-1",
        f"{FORM}x",
    ],
)
async def test_anything_but_a_plain_form_is_refused(media_type: str | None) -> None:
    with pytest.raises(HTTPException) as refused:
        await read_form(request_of(b"a=1", media_type=media_type))
    assert refused.value.status_code == 415


async def test_a_large_body_is_refused_before_it_is_read() -> None:
    async def never() -> Message:
        raise AssertionError("the body was read")

    headers = [(b"content-type", FORM.encode()), (b"content-length", b"%d" % (LIMIT + 1))]
    with pytest.raises(HTTPException) as refused:
        await read_form(Request({"type": "http", "method": "POST", "headers": headers}, never))
    assert refused.value.status_code == 413


@pytest.mark.parametrize("length", [None, "1", "-5", "\u0663"])
async def test_a_body_larger_than_it_says_is_refused(length: str | None) -> None:
    with pytest.raises(HTTPException) as refused:
        await read_form(request_of(b"a=" + b"x" * 50, b"x" * 50, length=length), limit=100)
    assert refused.value.status_code == 413


async def test_a_body_of_just_the_limit_is_read() -> None:
    assert (await read_form(request_of(b"a=" + b"x" * 98), limit=100)).text("a") == "x" * 98


async def test_a_browser_that_leaves_is_no_failure_of_ours() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    headers = [(b"content-type", FORM.encode())]
    with pytest.raises(HTTPException) as refused:
        await read_form(Request({"type": "http", "method": "POST", "headers": headers}, receive))
    assert refused.value.status_code == 400


@pytest.mark.parametrize(
    ("media_type", "body", "status"),
    [(FORM, "a=%FF", 400), ("text/plain", "a=1", 415), (FORM, "a=" + "x" * LIMIT, 413)],
)
async def test_a_form_that_cannot_be_read_is_answered_with_a_page(
    tmp_path: Path, media_type: str, body: str, status: int
) -> None:
    headers = {"origin": ORIGIN, "content-type": media_type}
    async with signed_client(app_of(site_of(tmp_path))) as client:
        first = await client.post("/page", headers=headers, content=body)
        late = await client.post("/page", headers={**headers, "x-csrf-token": token_for(DRAWN)}, content=body)
    for answer in (first, late):
        assert answer.status_code == status
        assert f"Error {status}" in answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
