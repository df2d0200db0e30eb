"""Path templates: the grammar of google/api/http.proto."""

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.router import Match, Route, Router
from server.transcoding.template import DOTS, REST, STAR, InvalidTemplate, Template, Variable, literal, parse, unescape
from server.transcoding.violation import Refused
from tests.unit.transcoding.kitchen import SERVICE

_LITERALS = st.from_regex(r"([A-Za-z0-9._~@!$+-]|%[2-7][0-9A-E]){1,4}", fullmatch=True).filter(
    lambda text: literal(text) not in DOTS
)
_FIELDS = st.from_regex(r"[a-z_][a-z0-9_]{0,3}(\.[a-z]{1,3})?", fullmatch=True)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    segments: list[str] = []
    variables: list[Variable] = []
    for field in draw(st.lists(st.none() | _FIELDS, min_size=1, max_size=4, unique_by=lambda name: name or object())):
        start = len(segments)
        inner = draw(st.lists(_LITERALS | st.just("*"), min_size=1, max_size=3 if field else 1))
        segments.extend(inner)
        if field:
            variables.append(Variable(field=field, start=start, end=len(segments)))
    if draw(st.booleans()):
        segments.append("**")
        if draw(st.booleans()):
            variables.append(Variable(field="the_rest", start=len(segments) - 1, end=None))
    verb = draw(st.just("") | _LITERALS)
    return Template(segments=tuple(segments), variables=tuple(variables), verb=verb)


@given(templates())
@settings(deadline=None)
def test_a_printed_template_parses_to_itself(template: Template) -> None:
    assert parse(str(template)) == template


@given(st.text(alphabet="/{}=*:.ab%", max_size=16))
@settings(deadline=None)
def test_any_text_is_parsed_and_printed_back_or_refused(text: str) -> None:
    try:
        template = parse(text)
    except InvalidTemplate:
        return
    assert parse(str(template)) == template


@pytest.mark.parametrize(
    ("text", "segments", "variables", "verb"),
    [
        ("/v1/keys", ("v1", "keys"), {}, ""),
        ("/v1/keys/{id}", ("v1", "keys", "*"), {"id": (2, 3)}, ""),
        ("/v1/{name=shelves/*/books/*}", ("v1", "shelves", "*", "books", "*"), {"name": (1, 5)}, ""),
        ("/v1/{a.b_c}:cancel", ("v1", "*"), {"a.b_c": (1, 2)}, "cancel"),
        ("/v1/{rest=files/**}:undo", ("v1", "files", "**"), {"rest": (1, None)}, "undo"),
        ("/*/x/**", ("*", "x", "**"), {}, ""),
        ("/{a=x}/{b=**}", ("x", "**"), {"a": (0, 1), "b": (1, None)}, ""),
        ("/**", ("**",), {}, ""),
        ("/{all=**}:go", ("**",), {"all": (0, None)}, "go"),
        ("/{a=*}/b-c.d~e_f/{_b=*/x}", ("*", "b-c.d~e_f", "*", "x"), {"a": (0, 1), "_b": (2, 4)}, ""),
        ("/@me/a%20b:st%C3%A4rt", ("@me", "a%20b"), {}, "st%C3%A4rt"),
        ("/...", ("...",), {}, ""),
    ],
)
def test_a_template_has_segments_variables_and_a_verb(
    text: str, segments: tuple[str, ...], variables: dict[str, tuple[int, int | None]], verb: str
) -> None:
    template = parse(text)

    assert template.segments == segments
    assert {variable.field: (variable.start, variable.end) for variable in template.variables} == variables
    assert template.verb == verb


@pytest.mark.parametrize(
    "text",
    [
        "", "v1", "/", "//", "/v1/", "/v1//x", "/v1/{", "/v1/{}", "/v1/}", "/{a", "/{a=}", "/{=a}", "/{a={b}}",
        "/{a}{b}", "/x{a}", "/{a}x", "/{1a}", "/{a.}", "/{a..b}", "/**/x", "/{a=**}/x", "/{a=**/x}", "/***", "/a*",
        "/{a}/{a}", "/v1:", "/v1:a:b", "/v1:a/b", "/v1:*", "/a b", "/a%zz", "/a?b", "/a#b", "/.", "/../x", "/%2e",
        "/{a=x:y}", "/é",
        "/{a=x/}", "/{a=/x}", "/{a=x//y}", "/{a=..}", "/{a.b-c}", "/{ a }", "/{a}}", "/{{a}}", "/a/{b",
        "/%", "/%4", "/a\n", "/.%2E", "/a:%", "/{a}:", "/{a}:b:c", "/**:", "/[a]",
    ],
)  # fmt: skip
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(InvalidTemplate):
        parse(text)


def test_captures_keep_their_escapes() -> None:
    template = parse("/v1/{name=shelves/*/books/*}/{rest=**}")

    assert template.capture(["v1", "shelves", "a%2Fb", "books", "c", "d", "e"]) == ("shelves/a%2Fb/books/c", "d/e")


def test_a_template_without_variables_captures_nothing() -> None:
    assert parse("/v1/*/**").capture(["v1", "a", "b"]) == ()


@pytest.mark.parametrize(
    ("raw", "text"),
    [("keys", "keys"), ("%6Beys", "keys"), ("%40me", "@me"), ("a%2fb", "a/b"), ("%c3%A9", "Ã©"), ("%zz%", "%zz%")],
)
def test_a_literal_is_the_same_however_it_is_escaped(raw: str, text: str) -> None:
    assert literal(raw) == text


@pytest.mark.parametrize(
    ("raw", "kept", "text"),
    [
        ("abc", False, "abc"),
        ("a%20b", False, "a b"),
        ("%C3%A9", False, "é"),
        ("a%2Fb", False, "a/b"),
        ("a%2Fb%2fc%20d", True, "a%2Fb%2fc d"),
        ("a+b", False, "a+b"),
        ("%25zz", False, "%zz"),
        ("%252F", True, "%2F"),
        ("Ã©", False, "é"),
        ("Ã©%20Ã©", True, "é é"),
        ("", False, ""),
    ],
)
def test_escapes_are_decoded(raw: str, kept: bool, text: str) -> None:
    assert unescape(raw, keep_slashes=kept) == text


def test_a_plus_is_a_space_in_a_query_only() -> None:
    assert unescape("a+b%2B", plus_is_space=True) == "a b+"


@pytest.mark.parametrize(
    "raw",
    [
        "%", "%4", "%zz", "a%g0", "%%20", "%²²", "%FF", "%C3", "%00", "\0", "a%ed%a0%80", "Ã", "%C0%AF",
    ],
)  # fmt: skip
def test_a_bad_escape_is_refused(raw: str) -> None:
    with pytest.raises(Refused):
        unescape(raw)


@given(st.text(st.characters(max_codepoint=255), max_size=8), st.booleans(), st.booleans())
@settings(deadline=None)
def test_any_octets_are_decoded_or_refused(raw: str, kept: bool, plus: bool) -> None:
    try:
        text = unescape(raw, keep_slashes=kept, plus_is_space=plus)
    except Refused:
        return
    assert "\0" not in text
    assert text.encode().decode() == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8))
@settings(deadline=None)
def test_every_text_survives_percent_encoding(text: str) -> None:
    raw = "".join(f"%{octet:02X}" for octet in text.encode())

    assert unescape(raw) == text


_VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)


@given(templates(), st.data())
@settings(deadline=None)
def test_values_put_into_a_template_come_out_of_its_path(template: Template, data: st.DataObject) -> None:
    segments: list[str] = []
    texts: list[str] = []
    for segment in template.segments:
        drawn = [unescape(segment)]
        if segment in {STAR, REST}:
            sizes = (1, 1) if segment == STAR else (0, 3)
            drawn = data.draw(
                st.lists(_VALUES.filter(lambda text: text not in DOTS), min_size=sizes[0], max_size=sizes[1])
            )
        texts += drawn
        segments += [quote(text, safe="") for text in drawn]
    path = "/" + "/".join(segments) + (f":{template.verb}" if template.verb else "")
    route = Route(verb="GET", template=template, rpc=SERVICE.methods_by_name["GetBook"])

    match = Router([route]).match("GET", path)

    assert isinstance(match, Match)
    for variable, capture in zip(template.variables, match.captures, strict=True):
        parts = texts[variable.start : variable.end]
        expected = "/".join(part.replace("/", "%2F") for part in parts) if variable.multiple else parts[0]
        assert unescape(capture, keep_slashes=variable.multiple) == expected
