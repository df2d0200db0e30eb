"""Which requests may change something, and what every answer tells the browser."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from server.pages.security import CSRF_COOKIE, form_action_of, origin_of, same_origin_path
from tests.unit.pages.site_under_test import DRAWN, ORIGIN, app_of, client_of, signed_client, site_of, token_for

FORM = "application/x-www-form-urlencoded"
OURS = {"origin": ORIGIN}


async def test_every_page_forbids_what_it_does_not_need(tmp_path: Path) -> None:
    async with client_of(app_of(site_of(tmp_path))) as client:
        answers = [await client.get(path) for path in ("/page", "/nothing", "/page?lang=ar")]
        answers.append(await client.post("/page"))
        answers.append(await client.request("DELETE", "/page", headers=OURS))
    assert [answer.status_code for answer in answers] == [200, 404, 303, 403, 415]
    for answer in answers:
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self'",
            "connect-src": "'self'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["strict-transport-security"] == "max-age=63072000"


async def test_strict_transport_is_promised_behind_tls_only(tmp_path: Path) -> None:
    site = site_of(tmp_path, public_url="http://127.0.0.1:8080")
    async with client_of(app_of(site)) as client:
        assert "strict-transport-security" not in (await client.get("/page")).headers


async def test_the_first_page_sets_the_cookie_and_carries_its_other_half(tmp_path: Path) -> None:
    app = app_of(site_of(tmp_path, '{% import "macros.html" as ui %}{{ ui.csrf_field() }}'))
    async with client_of(app) as client:
        answer = await client.get("/page")
        cookie = answer.headers["set-cookie"]
        value = cookie.removeprefix(f"{CSRF_COOKIE}=").partition(";")[0]
        assert cookie.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
        assert f'value="{token_for(value)}"' in answer.text
        again = await client.get("/page")
    assert "set-cookie" not in again.headers
    assert token_for(value) in again.text


@pytest.mark.parametrize("planted", ["", "short", "c" * 44, "c" * 42 + "!", "c" * 42 + "\u00e9"])
async def test_a_cookie_we_never_drew_is_replaced(tmp_path: Path, planted: str) -> None:
    async with client_of(app_of(site_of(tmp_path))) as client:
        answer = await client.get("/page", headers={b"cookie": f"{CSRF_COOKIE}={planted}".encode("latin-1")})
    assert answer.headers["set-cookie"].startswith(CSRF_COOKIE)


ACCEPTED = [
    {"origin": ORIGIN},
    {"origin": ORIGIN, "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "same-origin"},
    {"origin": "null", "sec-fetch-site": "same-origin"},  # what browsers send from a page without referrer
]
REFUSED = [
    {},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"origin": "null", "sec-fetch-site": "same-site"},
    {"origin": "https://evil.test"},
    {"origin": "https://evil.test", "sec-fetch-site": "same-origin"},
    {"origin": "http://portal.test"},
    {"origin": "https://portal.test:8443"},
    {"origin": "https://portal.test.evil.test"},
    {"origin": "https://sub.portal.test", "sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"referer": f"{ORIGIN}/page"},
]


@pytest.mark.parametrize("headers", ACCEPTED, ids=str)
async def test_a_form_of_ours_is_accepted_and_read_again_by_its_handler(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with signed_client(app_of(site_of(tmp_path))) as client:
        form = {"csrf_token": token_for(DRAWN), "name": "تجربة & more"}
        answer = await client.post("/page", headers=headers, data=form)
        by_header = await client.post(
            "/page", headers={**headers, "x-csrf-token": token_for(DRAWN)}, data={"name": "x"}
        )
    assert (answer.status_code, answer.text) == (200, "تجربة & more")
    assert (by_header.status_code, by_header.text) == (200, "x")


@pytest.mark.parametrize("headers", REFUSED, ids=str)
async def test_a_form_from_elsewhere_is_refused_with_a_page(tmp_path: Path, headers: dict[str, str]) -> None:
    async with signed_client(app_of(site_of(tmp_path))) as client:
        form = {"csrf_token": token_for(DRAWN), "name": "x"}
        answer = await client.post("/page", headers=headers, data=form)
        by_header = await client.post("/page", headers={**headers, "x-csrf-token": token_for(DRAWN)}, data=form)
    assert (answer.status_code, by_header.status_code) == (403, 403)
    assert "This form was not accepted" in answer.text


async def test_two_origins_are_no_origin(tmp_path: Path) -> None:
    async with signed_client(app_of(site_of(tmp_path))) as client:
        headers = [("origin", ORIGIN), ("origin", ORIGIN), ("content-type", FORM)]
        answer = await client.post("/page", headers=headers, content=f"csrf_token={token_for(DRAWN)}")
    assert answer.status_code == 403


TOKENS = {
    "missing": {},
    "empty": {"csrf_token": ""},
    "wrong": {"csrf_token": "0" * 64},
    "of another cookie": {"csrf_token": token_for("d" * 43)},
    "the cookie itself": {"csrf_token": DRAWN},
    "not ascii": {"csrf_token": "é" * 64},
}


@pytest.mark.parametrize("form", TOKENS.values(), ids=TOKENS)
async def test_a_wrong_token_is_refused(tmp_path: Path, form: dict[str, str]) -> None:
    async with signed_client(app_of(site_of(tmp_path))) as client:
        answer = await client.post("/page", headers=OURS, data={**form, "name": "x"})
    assert answer.status_code == 403


@pytest.mark.parametrize("tokens", [[""], ["0" * 64], [token_for(DRAWN)] * 2], ids=["empty", "wrong", "twice"])
async def test_a_wrong_token_in_the_header_is_refused_whatever_the_form_says(tmp_path: Path, tokens: list[str]) -> None:
    async with signed_client(app_of(site_of(tmp_path))) as client:
        headers = [("origin", ORIGIN), *(("x-csrf-token", token) for token in tokens)]
        answer = await client.post("/page", headers=headers, data={"csrf_token": token_for(DRAWN)})
    assert answer.status_code == 403


async def test_a_token_without_its_cookie_is_refused(tmp_path: Path) -> None:
    async with client_of(app_of(site_of(tmp_path))) as client:
        answer = await client.post("/page", headers=OURS, data={"csrf_token": token_for(DRAWN)})
    assert answer.status_code == 403


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_every_unsafe_method_needs_the_proofs(tmp_path: Path, method: str) -> None:
    async with signed_client(app_of(site_of(tmp_path))) as client:
        assert (await client.request(method, "/page")).status_code == 403


async def test_programs_need_no_proof_where_they_are_expected(tmp_path: Path) -> None:
    async def answer_program(_request: Request) -> Response:
        return PlainTextResponse("a token")

    app = app_of(site_of(tmp_path), [Route("/token", answer_program, methods=["POST"])])
    async with client_of(app) as client:
        answer = await client.post("/token")
        beside = await client.post("/token/")
    assert (answer.status_code, answer.text) == (200, "a token")
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert beside.status_code == 403


async def test_the_refusal_is_written_in_the_readers_language(tmp_path: Path) -> None:
    async with client_of(app_of(site_of(tmp_path)), cookies={"lang": "ar"}) as client:
        answer = await client.post("/page")
    assert "لم يُقبل هذا النموذج" in answer.text


async def test_a_page_may_let_its_form_lead_to_one_more_origin(tmp_path: Path) -> None:
    app = app_of(site_of(tmp_path), form_action=["https://client.example", "com.example.app:"])
    async with client_of(app) as client:
        policy = (await client.get("/page")).headers["content-security-policy"]
        other = (await client.get("/nothing")).headers["content-security-policy"]
    assert "; form-action 'self' https://client.example com.example.app:; " in policy
    assert "; form-action 'self'; " in other


@pytest.mark.parametrize(
    ("redirect_uri", "source"),
    [
        ("https://client.example/back?x=1", "https://client.example"),
        ("https://Client.Example:8443/back", "https://client.example:8443"),
        ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
        ("http://[::1]:3000/back", "http:"),
        ("com.example.app:/back", "com.example.app:"),
        ("com.example.app://host/back", "com.example.app:"),
    ],
)
def test_a_redirect_uri_gives_its_origin_or_its_scheme(redirect_uri: str, source: str) -> None:
    assert form_action_of(redirect_uri) == source


@pytest.mark.parametrize(
    "redirect_uri",
    ["", "/path", "javascript:alert(1)", "data:text/html,x", "https://a.example;script-src *", "https://*", "https://"],
)
def test_a_policy_is_never_widened_by_a_strange_uri(redirect_uri: str) -> None:
    with pytest.raises(ValueError, match="a form may lead to"):
        form_action_of(redirect_uri)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Portal.Test", "https://portal.test"),
        ("https://portal.test:443/", "https://portal.test"),
        ("http://portal.test:80", "http://portal.test"),
        ("http://portal.test:8080/x", "http://portal.test:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "path", ["/", "/portal/keys", "/portal/keys?state=active&x=%2F%2Fevil", "/a//b", "/a#b", "/@x"]
)
def test_a_path_of_ours_is_kept(path: str) -> None:
    assert same_origin_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "", "portal", "//evil.test", "///evil.test", "/\\evil.test", "\\\\evil.test", "/a\\b", "https://evil.test",
        "javascript:alert(1)", "data:text/html,x", " /portal", "/\t/evil.test", "/\n/evil.test", "/\r\nset-cookie: a=b",
        "/\x00", "/\x7f", "/é", "/\u2028", "?x", "#x", "/" + "a" * 4000,
    ],
)  # fmt: skip
def test_anything_else_leads_home(text: str) -> None:
    assert same_origin_path(text) == "/portal/"
    assert same_origin_path(text, "/") == "/"


@given(st.one_of(st.text(), st.text("/\\:@?#.\t\n ae%", max_size=12).map(lambda tail: "/" + tail)))
def test_no_text_leads_off_the_site(text: str) -> None:
    path = same_origin_path(text)
    parts = urlsplit(path)
    assert (parts.scheme, parts.netloc) == ("", "")
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert path.isascii()
    assert path.isprintable()
