"""The charts of usage that several pages show."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from markupsafe import Markup
from sdk.portal.v1.key_secret_service_pb2 import SecretVersion
from sdk.usage.v1.usage_pb2 import Usage
from sdk.usage.v1.usage_service_pb2 import LIMIT_DEVELOPER_RATE, LIMIT_KEY_RATE, LIMIT_MONTHLY_QUOTA, Refusal

from server.pages.formats import write_number
from server.pages.languages import translatable
from server.pages.reader import Reader
from server.portal.charts import Column, Words, columns
from server.portal.series import Calls, Scale, by_time, long_label, moment, short_label, steps

_HOUR: Final = timedelta(hours=1)
_LIMITS: Final = {
    LIMIT_KEY_RATE: translatable("Rate of this key"),
    LIMIT_DEVELOPER_RATE: translatable("Rate of all your keys together"),
    LIMIT_MONTHLY_QUOTA: translatable("Quota of the month"),
}


def calls_chart(reader: Reader, usage: Usage, scale: Scale, *, name: str) -> Markup:
    """Draw the calls of a span: accepted, refused for their number, refused for other reasons."""
    found = by_time(usage.points)
    points = []
    for begin in steps(moment(usage.start_time), moment(usage.end_time), scale.step):
        calls = found.get(begin, Calls())
        values = (calls.accepted, calls.throttled, calls.refused)
        label = short_label(reader, begin, scale.step)
        points.append(
            Column(label=label, title=long_label(reader, begin, scale.step) if any(values) else label, values=values)
        )
    say = reader.gettext
    total = write_number(reader, usage.calls)
    described = reader.ngettext("%(num)s call in all", "%(num)s calls in all", usage.calls) % {"num": total}
    words = _words(reader, name, f"{say('Calls')} · {say(scale.span)}", described)
    return columns(words, (say("Accepted"), say("Throttled"), say("Refused otherwise")), points)


def refusal_chart(reader: Reader, refusals: Iterable[Refusal], usage: Usage, scale: Scale) -> Markup:
    """Draw the calls that each limit refused, over the span of a key's usage."""
    found: dict[datetime, dict[int, int]] = {}
    for refusal in refusals:
        found.setdefault(moment(refusal.start_time), {})[refusal.limit] = refusal.refused_calls
    points = []
    for begin in steps(moment(usage.start_time), moment(usage.end_time), scale.step):
        values = tuple(found.get(begin, {}).get(limit, 0) for limit in _LIMITS)
        label = short_label(reader, begin, scale.step)
        points.append(
            Column(label=label, title=long_label(reader, begin, scale.step) if any(values) else label, values=values)
        )
    say = reader.gettext
    count = sum(sum(point.values) for point in points)
    described = reader.ngettext("%(num)s refused call in all", "%(num)s refused calls in all", count)
    title = f"{say('Refused calls')} · {say(scale.span)}"
    words = _words(reader, "refusals", title, described % {"num": write_number(reader, count)})
    words = replace(words, nothing=say("No call was refused for its number in this time."))
    return columns(words, [say(name) for name in _LIMITS.values()], points)


def secret_chart(reader: Reader, version: SecretVersion, now_hour: datetime) -> Markup:
    """Draw the calls with one secret, by hour over two days."""
    found = {moment(use.start_time): use.calls for use in version.uses}
    begin = now_hour - 47 * _HOUR
    points = []
    for at in steps(begin, now_hour + _HOUR, _HOUR):
        label, calls = short_label(reader, at, _HOUR), found.get(at, 0)
        points.append(Column(label=label, title=long_label(reader, at, _HOUR) if calls else label, values=(calls,)))
    title = reader.gettext("Calls by hour, last 48 hours")
    total = write_number(reader, sum(found.values()))
    described = reader.ngettext("%(num)s call in all", "%(num)s calls in all", sum(found.values())) % {"num": total}
    return columns(
        _words(reader, f"secret-{version.version}", title, described), (reader.gettext("Calls"),), points, small=True
    )


def _words(reader: Reader, name: str, title: str, description: str) -> Words:
    return Words(
        name=name,
        title=title,
        description=description,
        point=reader.gettext("Time"),
        as_table=reader.gettext("Show as a table"),
        nothing=reader.gettext("No calls in this time."),
        number=lambda value: write_number(reader, value),
    )
