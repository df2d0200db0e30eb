"""Streams: from the server in each form, from the client, both ways, and how they end."""

from dataclasses import replace

from tests.interop.transcoder.case import Case, get, post

_ARRAY, _LINES, _EVENTS = "application/json", "application/x-ndjson", "text/event-stream"
_TWO = b'[{"number":1},{"number":2,"unit":"m"}]'
_TWO_LINES = b'{"number":1}\n{"number":2,"unit":"m"}\n'


def _as(form: str, case: Case) -> Case:
    """Ask for a form: of Envoy by the port, of ours by Accept."""
    return replace(
        case, form=form, headers=(*case.headers, ("accept", form)), label=f"{case.label or case.name} as {form}"
    )


def _in_every_form(case: Case) -> tuple[Case, ...]:
    return tuple(_as(form, case) for form in (_ARRAY, _LINES, _EVENTS))


def _sent(target: str, array: bytes, lines: bytes, label: str) -> Case:
    """Send a client's stream: an array to Envoy, lines to ours; the type is the same, since Envoy reads none."""
    case = post(target, array, ("content-type", _LINES), ("accept", _ARRAY), label=label)
    return replace(case, to_ours=lines)


STREAMS: tuple[Case, ...] = (
    *_in_every_form(get("/s/count?to=3")),
    *_in_every_form(get("/s/count?to=1")),
    *_in_every_form(get("/s/count")),
    *_in_every_form(post("/s/count", '{"to":2}')),
    *_in_every_form(get("/s/count?failCode=5")),
    *_in_every_form(get("/s/count?to=2&failCode=5")),
    *_in_every_form(get("/s/count?to=x")),
    _as(_ARRAY, get("/s/count?to=300")),
    _as(_LINES, get("/s/count?to=300")),
    get("/s/count?to=2"),
    get("/s/count?to=2", ("accept", "*/*")),
    get("/s/count?to=2", ("accept", "text/html")),
    post("/s/count?to=2", method="HEAD"),
    # raw bytes
    get("/s/pages?to=3&contentType=text/plain", ("accept", "*/*")),
    get("/s/pages?to=1&contentType=text/plain"),
    get("/s/pages?contentType=text/plain"),
    get("/s/pages?to=2"),
    get("/s/pages?failCode=5"),
    get("/s/pages?to=2&contentType=text/plain&failCode=5"),
    # from the client
    _sent("/s/sum", _TWO, _TWO_LINES, "a stream of two"),
    _sent("/s/sum", b"[]", b"", "a stream of none"),
    _sent("/s/sum", b'[{"number":1}]', b'{"number":1}', "a stream of one, without a line break"),
    _sent("/s/sum", b'[{"number":1}]', b'\n{"number":1}\n\n', "a stream with empty lines"),
    _sent("/s/sum/km", b"[{},{}]", b"{}\n{}\n", "a stream with a path"),
    _sent("/s/sum", b'[{"number":1},{"number":"x"}]', b'{"number":1}\n{"number":"x"}\n', "a stream with a bad message"),
    _sent("/s/sum", b'[{"number":1},{"more":1}]', b'{"number":1}\n{"more":1}\n', "a stream with an unknown field"),
    _sent("/s/sum", b'[{"number":1},', b'{"number":1}\n{', "a stream that is cut off"),
    _sent("/s/mirror", _TWO, _TWO_LINES, "a stream and back"),
    _sent("/s/mirror", b"[]", b"", "a stream of none and back"),
    post("/s/sum", _TWO_LINES, ("content-type", _LINES), label="lines for a stream"),
    post("/s/sum", _TWO, label="an array for a stream"),
    post("/s/sum", '{"number":1}', label="one message for a stream"),
    get("/s/sum"),
)
