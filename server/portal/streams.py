"""Streams as pages show them: by day as a chart, and by client with the client's name. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from markupsafe import Markup
from sdk.billing.v1.billing_service_pb2 import StreamDay
from sdk.usage.v1.usage_pb2 import MEDIUM_MUSIC, MEDIUM_VIDEO

from server.pages.formats import write_date, write_day, write_number
from server.pages.languages import translatable
from server.pages.reader import Reader
from server.portal.charts import Column, Words, columns

MEDIA: Final[Mapping[int, str]] = {MEDIUM_MUSIC: translatable("Music"), MEDIUM_VIDEO: translatable("Video")}

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Streams counted: billable ones by medium, and acquisitions that were repeated and cost nothing."""

    music: int = 0
    video: int = 0
    repeated: int = 0

    @property
    def billable(self) -> int:
        """Those that are billed."""
        return self.music + self.video

    def with_day(self, day: StreamDay) -> "Streams":
        """Return the sum of these and a day's."""
        counted = replace(self, repeated=self.repeated + day.acquisitions - day.billable)
        if day.medium == MEDIUM_VIDEO:
            return replace(counted, video=self.video + day.billable)
        return replace(counted, music=self.music + day.billable)


def total(days: Iterable[StreamDay]) -> Streams:
    """Add everything up."""
    streams = Streams()
    for day in days:
        streams = streams.with_day(day)
    return streams


def by_client(days: Iterable[StreamDay]) -> list[tuple[str, Streams]]:
    """Add up by client id, the one with most billable streams first."""
    found: dict[str, Streams] = {}
    for day in days:
        found[day.client_id] = found.get(day.client_id, Streams()).with_day(day)
    return sorted(found.items(), key=lambda each: (-each[1].billable, each[0]))


def stream_chart(reader: Reader, days: Sequence[StreamDay], first: date, last: date) -> Markup:
    """Draw the streams of a span of days, both included, stacked: music, video, and what was repeated."""
    found: dict[date, Streams] = {}
    for day in days:
        at = date.fromisoformat(day.day)
        found[at] = found.get(at, Streams()).with_day(day)
    points = [
        Column(
            label=write_day(reader, at),
            title=write_date(reader, at, "medium"),
            values=(streams.music, streams.video, streams.repeated),
        )
        for at in (first + number * _DAY for number in range((last - first).days + 1))
        for streams in (found.get(at, Streams()),)
    ]
    return columns(_words(reader, total(days)), _series(reader), points)


def _series(reader: Reader) -> tuple[str, str, str]:
    say = reader.gettext
    return (say("Music, billable"), say("Video, billable"), say("Repeated, not billed"))


def _words(reader: Reader, streams: Streams) -> Words:
    say = reader.gettext
    described = reader.ngettext(
        "%(num)s billable stream in all", "%(num)s billable streams in all", streams.billable
    ) % {"num": write_number(reader, streams.billable)}
    return Words(
        name="streams",
        title=say("Streams by day (UTC)"),
        description=described,
        point=say("Day"),
        as_table=say("Show as a table"),
        nothing=say("No streams in this time."),
        number=lambda value: write_number(reader, value),
    )
