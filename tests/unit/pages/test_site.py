"""How pages are made: escaping, isolation of users' texts, redirects, and the pages of faults."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import TemplateSyntaxError, UndefinedError
from markupsafe import escape
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.errors import (
    Conflict,
    Error,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
    Violation,
)
from tests.unit.pages.site_under_test import app_of, client_of, site_of

PAGES = Path(__file__).parents[3] / "server" / "pages"
UI = '{% import "macros.html" as ui %}'
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</bdi></title></textarea><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eevil\u202c",
    "%(text)s %s",
]


def request_to(path: str = "/page") -> Request:
    return Request({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "state": {}})


def render(folder: Path, template: str, **context: Any) -> str:
    return bytes(site_of(folder, template).render(request_to(), "page.html", **context).body).decode()


EVERY_PART = (
    UI + "{{ ui.user_text(x) }}{{ ui.badge('active', x) }}{{ ui.light('go', x) }}"
    "{{ ui.field('f', x, x, hint=x, error=x) }}"
    "{{ ui.textarea('t', x, x, hint=x) }}{{ ui.select('s', x, [(x, x)], x) }}{{ ui.choices('c', x, [(x, x, x)]) }}"
    "{{ ui.checkbox('b', x, hint=x) }}{{ ui.confirm_field(x) }}{{ ui.code(x, x) }}{{ ui.secret(x, x) }}"
    "{{ ui.alert('info', x, x) }}{{ ui.empty(x, x, '/', x) }}{{ ui.stat(x, x, x) }}{{ ui.tabs([(x, x, '/')], x) }}"
    "{{ ui.breadcrumbs([(x, '/'), (x, '')]) }}{{ ui.fact(x, x) }}{{ ui.faults([('f', x), ('', x)]) }}"
    "{{ ui.button(x, 'quiet', 'n', x) }}{{ ui.legend([(1, x), (2, x)]) }}{{ ui.copy(x) }}"
    "{{ _('Type %(text)s to confirm', text=x) }}"
    "{% call ui.table(x) %}<tr><td>{{ x }}</td></tr>{% endcall %}{% call ui.chart(x) %}{% endcall %}"
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_part_lets_a_text_become_markup(tmp_path: Path, text: str) -> None:
    harmless = render(tmp_path, EVERY_PART, x="harmless")
    hostile = render(tmp_path, EVERY_PART, x=text)
    assert hostile == harmless.replace("harmless", str(escape(text)))


@given(st.text(st.characters(codec="utf-8"), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_users_text_is_escaped_and_isolated(tmp_path: Path, text: str) -> None:
    assert render(tmp_path, UI + "{{ ui.user_text(x) }}", x=text) == f"<bdi>{escape(text)}</bdi>"


def test_no_template_has_inline_script_or_style() -> None:
    for path in (PAGES / "templates").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?! src=\"\{\{ asset)", text), path.name
        assert "| safe" not in text, path.name


def test_what_a_template_was_not_given_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        render(tmp_path, "{{ nothing }}")


def test_every_common_template_compiles(tmp_path: Path) -> None:
    site_of(tmp_path).prepare()
    with pytest.raises(TemplateSyntaxError):
        site_of(tmp_path, "{% nonsense %}").prepare()


def test_every_state_has_its_own_word_beside_its_colour(tmp_path: Path) -> None:
    text = render(
        tmp_path, UI + "{% for t in ('active', 'revoked', 'expired', 'warning') %}{{ ui.badge(t) }}{% endfor %}"
    )
    assert re.findall(r'class="badge (\w+)">(\w+)<', text) == [
        ("active", "Active"),
        ("revoked", "Revoked"),
        ("expired", "Expired"),
        ("warning", "Attention"),
    ]


def test_a_field_is_tied_to_its_hint_and_its_error(tmp_path: Path) -> None:
    text = render(tmp_path, UI + "{{ ui.field('name', 'Name', hint='A label', error='Enter a name', required=true) }}")
    assert 'aria-describedby="hint-name error-name" aria-invalid="true"' in text
    assert '<p class="hint" id="hint-name">A label</p>' in text
    assert '<p class="field-error" id="error-name">Enter a name</p>' in text
    plain = render(tmp_path, UI + "{{ ui.field('name', 'Name') }}")
    assert "aria-describedby" not in plain
    assert "aria-invalid" not in plain


def test_a_password_is_never_written_back(tmp_path: Path) -> None:
    assert "hunter2" not in render(tmp_path, UI + "{{ ui.field('p', 'Password', 'hunter2', 'password') }}")


def test_a_time_is_readable_for_machines_and_people(tmp_path: Path) -> None:
    text = render(
        tmp_path,
        UI + "{{ ui.time('2026-11-22T11:58:05.5Z') }}{{ ui.time_ago('2026-11-22T11:58:00Z') }}{{ ui.time('') }}",
    )
    assert (
        '<time datetime="2026-11-22T11:58:05Z" title="2026-11-22T11:58:05Z"><bdi>Nov 22, 2026 11:58 UTC</bdi>' in text
    )
    assert ">2 minutes ago</time>" in text
    assert "—" in text


def test_the_shell_shows_where_one_is_and_how_to_leave(tmp_path: Path) -> None:
    text = render(
        tmp_path,
        '{% extends "layout.html" %}{% block heading %}Keys{% endblock %}{% block content %}<p>here</p>{% endblock %}',
        nav=[("keys", "API keys", "/portal/keys"), ("audit", "Audit log", "/portal/audit")],
        active="keys",
        user="<b>",
    )
    assert text.count('<a href="/portal/keys" aria-current="page">API keys</a>') == 2
    assert text.count('<a href="/portal/audit">Audit log</a>') == 2
    assert "<bdi>&lt;b&gt;</bdi>" in text
    assert text.count('<form method="post" action="/sign-out">') == 2
    assert text.count('name="csrf_token"') == 2
    assert text.count("<p>here</p>") == 1
    assert 'href="#content"' in text
    assert '<main id="content"' in text


def test_the_links_of_a_choice_keep_the_rest_of_the_address(tmp_path: Path) -> None:
    request = Request(
        {"type": "http", "method": "GET", "path": "/", "query_string": b"a=1&lang=en&x=%22", "headers": [], "state": {}}
    )
    site = site_of(tmp_path, "{{ choice_href('lang', 'ar') }}")
    assert bytes(site.render(request, "page.html").body).decode() == "?a=1&amp;x=%22&amp;lang=ar"


def test_a_redirect_stays_on_the_site(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    inside = site.redirect(request_to(), "/portal/keys?notice=created")
    outside = site.redirect(request_to(), "//evil.test/")
    assert (inside.status_code, inside.headers["location"]) == (303, "/portal/keys?notice=created")
    assert outside.headers["location"] == "/portal/"


def raising(fault: Exception) -> Callable[[Request], Awaitable[Response]]:
    async def handler(_request: Request) -> Response:
        raise fault

    return handler


@pytest.mark.parametrize(
    ("fault", "status", "title"),
    [
        (NotFound("No key has this id."), 404, "There is nothing here"),
        (Conflict("The key is revoked."), 409, "This is no longer possible"),
        (PermissionDenied("Register first."), 403, "You may not do this"),
        (Unavailable(), 503, "We cannot answer right now"),
        (RateLimited(23), 429, "Too many requests"),
        (Error("Something failed."), 500, "Something failed on our side"),
    ],
)
async def test_an_expected_error_is_a_page_with_its_sentence(
    tmp_path: Path, fault: Error, status: int, title: str
) -> None:
    app = app_of(site_of(tmp_path), [Route("/fault", raising(fault))])
    async with client_of(app) as client:
        answer = await client.get("/fault")
    assert answer.status_code == status
    assert f"<h1>{title}</h1>" in answer.text
    assert f"<bdi>{escape(fault.message)}</bdi>" in answer.text
    retry = {429: "23", 503: "1"}.get(status)
    assert answer.headers.get("retry-after") == retry


async def test_each_fault_of_a_request_is_told_with_its_field(tmp_path: Path) -> None:
    fault = InvalidRequest([Violation("<q>", "must be at most 100 characters"), Violation("id", "<b>")])
    app = app_of(site_of(tmp_path), [Route("/fault", raising(fault))])
    async with client_of(app) as client:
        english = await client.get("/fault")
        arabic = await client.get("/fault", headers={"accept-language": "ar"})
    assert english.status_code == 400
    assert "<p><code><bdi>&lt;q&gt;</bdi></code>: <bdi>must be at most 100 characters</bdi></p>" in english.text
    assert "<p><code><bdi>id</bdi></code>: <bdi>&lt;b&gt;</bdi></p>" in english.text
    assert "<bdi>يجب ألا يزيد على \u2068100\u2069 حرف</bdi>" in arabic.text
    assert "<bdi>\u2068&lt;b&gt;\u2069</bdi>" in arabic.text


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (RateLimited(3), "تجاوزت حد المعدل. أعد المحاولة بعد \u20683\u2069 ثوانٍ."),
        (Unavailable(), "لا يمكن للخدمة الرد الآن. أعد المحاولة بفواصل متزايدة."),
        (Conflict("This secret has ended already."), "انتهى هذا السر بالفعل."),
    ],
)
async def test_an_expected_error_is_told_in_the_readers_language(tmp_path: Path, fault: Error, sentence: str) -> None:
    app = app_of(site_of(tmp_path), [Route("/fault", raising(fault))])
    async with client_of(app) as client:
        answer = await client.get("/fault", headers={"accept-language": "ar"})
    assert f"<bdi>{sentence}</bdi>" in answer.text


async def test_an_unexpected_failure_says_nothing_of_itself(tmp_path: Path) -> None:
    app = app_of(site_of(tmp_path), [Route("/fault", raising(RuntimeError("the password is hunter2")))])
    async with client_of(app) as client:
        answer = await client.get("/fault")
    assert answer.status_code == 500
    assert "Something failed on our side" in answer.text
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    assert "content-security-policy" in answer.headers


async def test_unknown_paths_and_methods_are_pages_too(tmp_path: Path) -> None:
    async def read_only(_request: Request) -> Response:
        return Response("x")

    app = app_of(site_of(tmp_path), [Route("/token", read_only)])
    async with client_of(app) as client:
        missing = await client.get("/nothing/%3Cscript%3E?q=<script>")
        slash = await client.get("/page/")
        method = await client.post("/token")
    assert missing.status_code == 404
    assert "&lt;script" not in missing.text.replace("&amp;", "&")
    assert "<script>" not in missing.text
    assert slash.status_code == 404
    assert (method.status_code, set(method.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert "This page cannot be used in that way" in method.text


async def test_handlers_translate_what_they_say(tmp_path: Path) -> None:
    site = site_of(tmp_path)

    async def speak(request: Request) -> Response:
        return Response(site.reader(request).gettext("Copy"))

    app = app_of(site, [Route("/speak", speak)])
    async with client_of(app, cookies={"lang": "ar"}) as client:
        assert (await client.get("/speak")).text == "نسخ"
