"""A tiny browser for tests of pages: cookies, redirects, forms and what a page's policy says about them; no JavaScript.

    async with Browser("http://site.test", app) as browser:  # or Browser("http://127.0.0.1:8080") over the network
        page = await browser.open("/sign-in")
        page = await browser.submit(page, username="alice", password="…")
        page = await browser.follow(page)

It does as Chromium does where that matters to a server: `__Host-` cookies must keep their rules, Secure ones are kept
on loopback and test hosts too, a form on a page without referrer is sent with `Origin: null`, and an answer to a form
leads nowhere that `form-action` does not allow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urljoin, urlsplit

import httpx2

from server.web.asgi import App

Values = str | Sequence[str] | None
_REDIRECTS = (301, 302, 303, 307, 308)
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)


@dataclass(slots=True)
class Field:
    """One control of a form that has a name. `chosen`: it would be sent as it stands."""

    name: str
    kind: str
    value: str
    chosen: bool


@dataclass(slots=True)
class Form:
    """A form as it stands in a page."""

    action: str = ""
    method: str = "get"
    id: str = ""
    fields: list[Field] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """The names of its controls."""
        return {each.name for each in self.fields}

    def value(self, name: str) -> str:
        """Return what a control holds."""
        return next(each.value for each in self.fields if each.name == name)

    def chosen(self, name: str) -> list[str]:
        """Return the values that would be sent under a name, e.g. of ticked checkboxes."""
        return [each.value for each in self.fields if each.name == name and each.chosen]

    def fill(self, values: Mapping[str, Values]) -> list[tuple[str, str]]:
        """Return what is sent when some controls are given other values; None sends nothing under a name."""
        assert values.keys() <= self.names, f"no such field: {sorted(values.keys() - self.names)}"
        pairs: list[tuple[str, str]] = []
        for name in dict.fromkeys(each.name for each in self.fields):
            if name not in values:
                pairs += [(name, value) for value in self.chosen(name)]
                continue
            given = values[name]
            for value in [given] if isinstance(given, str) else given or ():
                self._check_offered(name, value)
                pairs.append((name, value))
        return pairs

    def _check_offered(self, name: str, value: str) -> None:
        offered = [each for each in self.fields if each.name == name]
        if all(each.kind in ("checkbox", "radio", "option", "submit") for each in offered):
            assert value in [each.value for each in offered], f"{name} does not offer {value}"


class Document(HTMLParser):
    """What tests ask of a page's HTML: title, text, links and forms, and the ids that labels are for."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.texts: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.forms: list[Form] = []
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._form: Form | None = None
        self._select = ""
        self._textarea: Field | None = None
        self._link: tuple[str, list[str]] | None = None
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        """What can be read, its white space made single blanks."""
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        self.attributes.append((tag, has))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "form":
            self._form = Form(has.get("action", ""), has.get("method", "get").lower(), has.get("id", ""))
            self.forms.append(self._form)
        elif tag == "a" and "href" in has:
            self._link = (has["href"], [])
        elif self._form is not None and "disabled" not in has:
            self._add_control(self._form, tag, has)

    def _add_control(self, form: Form, tag: str, has: dict[str, str]) -> None:
        name, kind = has.get("name", ""), has.get("type", "text" if tag == "input" else "submit").lower()
        if tag == "select":
            self._select = name
        elif tag == "option":
            form.fields.append(Field(self._select, "option", has.get("value", ""), "selected" in has))
        elif tag == "textarea" and name:
            self._textarea = Field(name, "textarea", "", True)
            form.fields.append(self._textarea)
        elif tag == "input" and name:
            is_box = kind in ("checkbox", "radio")
            value = has.get("value", "on" if is_box else "")
            form.fields.append(Field(name, kind, value, "checked" in has if is_box else kind != "submit"))
        elif tag == "button" and name:
            form.fields.append(Field(name, kind, has.get("value", ""), False))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._textarea = None
        elif tag == "a" and self._link is not None:
            self.links.append((" ".join("".join(self._link[1]).split()), self._link[0]))
            self._link = None

    def handle_data(self, data: str) -> None:
        if self._textarea is not None:
            self._textarea.value += data.removeprefix("\n") if not self._textarea.value else data
        if "title" in self._open and "svg" not in self._open:
            self.title += data
        elif not {"script", "style", "title"} & set(self._open):
            self.texts.append(data)
            if self._link is not None:
                self._link[1].append(data)


class Page:
    """One answer, read as a page. `form_action` is what the policy of the page it was posted from allows."""

    def __init__(self, url: str, response: httpx2.Response, form_action: Sequence[str] | None = None) -> None:
        self.url = url
        self.response = response
        self.status = response.status_code
        self.headers = response.headers
        self.html = response.text if response.headers.get("content-type", "").startswith("text/html") else ""
        self.document = Document(self.html)
        self.form_action = form_action

    @property
    def text(self) -> str:
        """What can be read on it."""
        return self.document.text

    @property
    def location(self) -> str:
        """Where it redirects to, as a whole address; empty when it does not."""
        to = self.headers.get("location", "")
        return urljoin(self.url, to) if to and self.status in _REDIRECTS else ""

    def form(self, which: str = "") -> Form:
        """Return the form with this id, this action or a control of this name; for "" the only one to post."""
        forms = [form for form in self.document.forms if form.method == "post" or which]
        found = [form for form in forms if not which or which in (form.id, form.action) or which in form.names]
        assert len(found) == 1, (
            f"{len(found)} forms {which or 'to post'} on {self.url} ({self.status}): {self.text[:300]}"
        )
        return found[0]

    def link(self, text: str) -> str:
        """Return where the link of this text leads."""
        return next(urljoin(self.url, href) for label, href in self.document.links if label == text)

    def directive(self, name: str) -> list[str]:
        """Return the sources of one directive of the page's content security policy."""
        for part in self.headers.get("content-security-policy", "").split(";"):
            words = part.split()
            if words and words[0] == name:
                return words[1:]
        return []


class Browser:
    """A browser with one jar of cookies per host."""

    def __init__(
        self, base_url: str, app: App | None = None, *, language: str = "en", peer: str = "203.0.113.9"
    ) -> None:
        """Call `app` in process as `peer` under `base_url`, or without one whatever listens there."""
        self.base_url = base_url.rstrip("/")
        self.language = language
        self.jars: dict[str, dict[str, str]] = {}
        mounts = {self.base_url: httpx2.ASGITransport(app, client=(peer, 4711))} if app else None
        self._client = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=30, mounts=mounts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies for the site, to read and to change."""
        return self.jars.setdefault(urlsplit(self.base_url).hostname or "", {})

    async def open(self, url: str, **headers: str) -> Page:
        """GET an address or a path of the site; header names are given with underscores."""
        return await self._send("GET", url, headers={"sec-fetch-site": "none", **_named(headers)})

    async def submit(
        self,
        page: Page,
        form: str = "",
        *,
        button: tuple[str, str] | None = None,
        adding: Sequence[tuple[str, str]] = (),
        **values: Values,
    ) -> Page:
        """Fill a page's form and send it; see `Page.form`. `adding` is sent beside, as a forger would."""
        found = page.form(form)
        pairs = [*found.fill(values), *([button] if button else []), *adding]
        if button:
            assert button[0] in found.names, f"no such button: {button}"
        target = urljoin(page.url, found.action or page.url)
        if found.method == "get":
            return await self.open(f"{target.partition('?')[0]}?{urlencode(pairs)}")
        return await self._post_from(page, target, pairs)

    async def post(self, url: str, pairs: Sequence[tuple[str, str]], **headers: str) -> Page:
        """POST anything, with the cookies, from nowhere in particular: say `origin` and the like yourself."""
        return await self._send("POST", url, content=urlencode(pairs), headers=_named(headers))

    async def follow(self, page: Page, *, anywhere: bool = False) -> Page:
        """Follow redirects within the site (or `anywhere`) until there is a page, or an address of another site."""
        for _ in range(20):
            if not page.location or not (anywhere or _origin(page.location) == self.base_url):
                return page
            sources = page.form_action
            assert sources is None or self._is_allowed(page.location, sources), f"form-action forbids {page.location}"
            page = await self._send("GET", page.location, headers={"sec-fetch-site": "same-origin"})
            page.form_action = sources
        raise AssertionError(f"redirects without end, at {page.url}")

    def led_to(self, page: Page) -> str:
        """Return the foreign address that the answer to a form leads to, as far as the browser would go there."""
        assert page.location, f"no redirect but {page.status}: {page.text[:300]}"
        sources = page.form_action
        assert sources is None or self._is_allowed(page.location, sources), f"form-action forbids {page.location}"
        return page.location

    async def _post_from(self, page: Page, target: str, pairs: Sequence[tuple[str, str]]) -> Page:
        silent = page.headers.get("referrer-policy") == "no-referrer"
        is_same = _origin(page.url) == _origin(target)
        headers = {
            "origin": "null" if silent else _origin(page.url),
            "sec-fetch-site": "same-origin" if is_same else "cross-site",
        }
        sources = page.directive("form-action") or None
        assert sources is None or self._is_allowed(target, sources), f"form-action forbids {target}"
        answer = await self._send("POST", target, content=urlencode(pairs), headers=headers)
        answer.form_action = sources
        return answer

    def _is_allowed(self, url: str, sources: Sequence[str]) -> bool:
        parts = urlsplit(url)
        named = {_origin(url), f"{parts.scheme}:", *(["'self'"] if _origin(url) == self.base_url else [])}
        return not named.isdisjoint(sources)

    async def _send(self, method: str, url: str, *, headers: Mapping[str, str], content: str | None = None) -> Page:
        url = urljoin(f"{self.base_url}/", url).partition("#")[0]
        jar = self.jars.setdefault(urlsplit(url).hostname or "", {})
        sent = {"accept": "text/html", "accept-language": self.language, **headers}
        if jar:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        if content is not None:
            sent.setdefault("content-type", "application/x-www-form-urlencoded")
        response = await self._client.request(method, url, headers=sent, content=content)
        self._client.cookies.clear()  # our jar is the only one: the library's own sends no Secure cookie over http
        for line in response.headers.get_list("set-cookie"):
            _keep(jar, line)
        return Page(url, response)


def _keep(jar: dict[str, str], line: str) -> None:
    """Take one Set-Cookie line into a jar, or what it expires out of it."""
    for name, morsel in SimpleCookie(line).items():
        if name.startswith("__Host-"):
            assert morsel["secure"], f"a browser refuses this cookie: {line}"
            assert morsel["path"] == "/", f"a browser refuses this cookie: {line}"
            assert not morsel["domain"], f"a browser refuses this cookie: {line}"
        if morsel["max-age"] == "0" or "1970" in morsel["expires"]:
            jar.pop(name, None)
        else:
            jar[name] = morsel.value


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
