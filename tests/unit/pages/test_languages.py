"""Which language, time zone and theme a reader gets, and how dates and numbers look in them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from server.pages import formats
from server.pages.languages import choose_language, read_languages
from server.pages.reader import Reader, read_reader, without_choices
from tests.unit.pages.catalogue import faults_of
from tests.unit.pages.site_under_test import NOW, app_of, client_of, site_of

PAGES = Path(__file__).parents[3] / "server" / "pages"
LANGUAGES = read_languages([PAGES / "locales"])


def reader_of(code: str = "en", zone: str = "UTC") -> Reader:
    return Reader(language=LANGUAGES[code], zone=ZoneInfo(zone), theme="auto")


@pytest.mark.parametrize(
    ("wish", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "ar", "ar"),
        (None, "AR-eg", "ar"),
        (None, "ar-SA,ar;q=0.9,en;q=0.8", "ar"),
        (None, "en;q=0.4, ar;q=0.5", "ar"),
        (None, "fr, de;q=0.9, ar;q=0.1", "ar"),
        (None, "fr", "en"),
        (None, "*", "en"),
        (None, "ar;q=0, en", "en"),
        (None, "ar;q=0", "en"),
        (None, "en,ar", "en"),
        (None, "ar;q=2", "en"),
        (None, "ar;q=x, ;;;, ,\x00", "en"),
        (None, "arabic", "en"),
        (None, "x" * 2000 + ",ar", "en"),
        ("ar", "en", "ar"),
        ("en", "ar", "en"),
        ("fr", "ar", "ar"),
        ("../../etc/passwd", "", "en"),
    ],
)
def test_the_readers_choice_comes_before_the_browsers(wish: str | None, accepted: str, code: str) -> None:
    assert choose_language(wish, accepted) == code


@given(st.text(max_size=200))
def test_any_header_gives_a_language(accepted: str) -> None:
    assert choose_language(None, accepted) in ("en", "ar")


@pytest.mark.parametrize(
    ("cookie", "theme", "zone"),
    [
        ("", "auto", "UTC"),
        ("theme=dark; tz=Asia/Riyadh", "dark", "Asia/Riyadh"),
        ("theme=blue; tz=Mars/Olympus", "auto", "UTC"),
        ("tz=../../etc/passwd", "auto", "UTC"),
        ("tz=America", "auto", "UTC"),
        ("tz=/etc/localtime", "auto", "UTC"),
        ("theme=; tz=", "auto", "UTC"),
    ],
)
def test_a_cookie_that_is_no_choice_is_no_choice(cookie: str, theme: str, zone: str) -> None:
    headers = [(b"cookie", cookie.encode())]
    reader = read_reader(Request({"type": "http", "headers": headers}), LANGUAGES)
    assert (reader.theme, reader.zone.key) == (theme, zone)


@pytest.mark.parametrize(
    ("target", "location", "cookies"),
    [
        ("/page?lang=ar", "/page", ["lang=ar"]),
        ("/page?theme=dark&a=%2Fb+c&lang=en", "/page?a=%2Fb+c", ["lang=en", "theme=dark"]),
        ("/page?a=1&lang=xx", "/page?a=1", []),
        ("/page?lang=en&lang=ar", "/page", ["lang=ar"]),
        ("/page?l%61ng=ar&b", "/page?b", []),
        ("//evil.test/x?lang=ar", "/evil.test/x", ["lang=ar"]),
        ("/\\evil.test?lang=ar", "/evil.test", ["lang=ar"]),
        ("/%2F/evil?lang=ar", "/%2F/evil", ["lang=ar"]),
    ],
)
async def test_a_choice_is_kept_and_leads_back(tmp_path: Path, target: str, location: str, cookies: list[str]) -> None:
    async with client_of(app_of(site_of(tmp_path))) as client:
        answer = await client.get(f"https://portal.test{target}")
    if answer.status_code != 200:
        assert (answer.status_code, answer.headers["location"]) == (303, location)
    set_cookies = answer.headers.get_list("set-cookie")
    assert sorted(cookie.partition(";")[0] for cookie in set_cookies if "csrf" not in cookie) == sorted(cookies)
    assert all("Secure" in cookie and "HttpOnly" in cookie for cookie in set_cookies)


def test_choices_alone_leave_the_query() -> None:
    assert (
        without_choices("a=1&lang=ar&b=%26lang%3Dx&theme=dark&l%61ng=en&language=x") == "a=1&b=%26lang%3Dx&language=x"
    )


async def test_a_page_is_written_in_the_readers_direction(tmp_path: Path) -> None:
    app = app_of(site_of(tmp_path, '{% extends "base.html" %}'))
    async with client_of(app) as client:
        english = await client.get("/page")
        arabic = await client.get("/page", headers={"accept-language": "ar-EG"})
        chosen = await client.get("/page", headers={"cookie": "lang=ar; theme=dark"})
    assert '<html lang="en" dir="ltr" data-theme="auto"' in english.text
    assert '<html lang="ar" dir="rtl" data-theme="auto"' in arabic.text
    assert '<html lang="ar" dir="rtl" data-theme="dark"' in chosen.text
    assert "بوابة المطوّرين" in arabic.text


async def test_a_feature_brings_its_own_words_and_may_change_ours(tmp_path: Path) -> None:
    (tmp_path / "locales").mkdir()
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
    own = 'msgid "Own words"\nmsgstr "كلماتي"\n\nmsgid "Copy"\nmsgstr "انسخ"\n'
    (tmp_path / "locales" / "ar.po").write_text(header + own)
    app = app_of(site_of(tmp_path, "{{ _('Own words') }}|{{ _('Copy') }}|{{ _('Menu') }}|{{ _('Unknown') }}"))
    async with client_of(app, cookies={"lang": "ar"}) as client:
        assert (await client.get("/page")).text == "كلماتي|انسخ|القائمة|Unknown"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "لا توجد مشكلات"),
        (1, "توجد مشكلة واحدة"),
        (2, "توجد مشكلتان"),
        (3, "توجد 3 مشكلات"),
        (11, "توجد 11 مشكلة"),
        (100, "توجد 100 مشكلة"),
    ],
)
def test_arabic_counts_in_six_ways(number: int, text: str) -> None:
    written = reader_of("ar").ngettext("There is %(num)s problem", "There are %(num)s problems", number)
    assert written % {"num": number} == text


def test_every_message_of_the_common_parts_is_translated() -> None:
    assert faults_of(PAGES) == []


MOMENT = datetime(2026, 11, 22, 21, 4, 5, 999999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "zone", "length", "text"),
    [
        ("en", "UTC", "medium", "Nov 22, 2026 21:04:05 UTC"),
        ("en", "UTC", "short", "Nov 22, 2026 21:04 UTC"),
        ("en", "Asia/Riyadh", "short", "Nov 23, 2026 00:04 UTC+03"),
        ("en", "America/New_York", "short", "Nov 22, 2026 16:04 EST"),
        ("ar", "UTC", "short", "22 نوفمبر 2026 21:04 UTC"),
    ],
)
def test_a_time_is_written_in_the_readers_zone_which_is_named(code: str, zone: str, length: str, text: str) -> None:
    reader = reader_of(code, zone)
    assert formats.write_datetime(reader, MOMENT, length) == text
    assert formats.write_datetime(reader, "2026-11-22T22:04:05.999999+01:00", length) == text


def test_a_date_is_the_one_in_the_readers_zone() -> None:
    assert formats.write_date(reader_of(), MOMENT) == "Nov 22, 2026"
    assert formats.write_date(reader_of(zone="Asia/Riyadh"), MOMENT) == "Nov 23, 2026"
    assert formats.write_date(reader_of(zone="Asia/Riyadh"), date(2026, 1, 2)) == "Jan 2, 2026"


def test_no_time_is_no_text_and_nonsense_is_a_fault() -> None:
    for nothing in (None, ""):
        assert formats.write_datetime(reader_of(), nothing) == ""
        assert formats.write_date(reader_of(), nothing) == ""
        assert formats.write_time_ago(reader_of(), nothing, NOW) == ""
        assert formats.write_utc(nothing) == ""
    with pytest.raises(ValueError, match="not a time"):
        formats.write_datetime(reader_of(), "yesterday")


@pytest.mark.parametrize(
    ("seconds", "english", "arabic"),
    [
        (0, "just now", "الآن"),
        (-59, "just now", "الآن"),
        (30, "in less than a minute", "خلال أقل من دقيقة"),
        (-61, "1 minute ago", "قبل دقيقة واحدة"),
        (-3599, "59 minutes ago", "قبل 59 دقيقة"),
        (-7300, "2 hours ago", "قبل ساعتين"),
        (90000, "in 1 day", "خلال يوم واحد"),
        (-20 * 86400, "2 weeks ago", "قبل أسبوعين"),
        (-90 * 86400, "3 months ago", "قبل 3 أشهر"),
        (-800 * 86400, "2 years ago", "قبل سنتين"),
    ],
)
def test_how_long_ago_is_told_in_one_unit(seconds: int, english: str, arabic: str) -> None:
    moment = NOW + timedelta(seconds=seconds)
    assert formats.write_time_ago(reader_of(), moment, NOW) == english
    assert formats.write_time_ago(reader_of("ar"), moment, NOW) == arabic


def test_numbers_and_shares_have_the_languages_separators() -> None:
    assert formats.write_number(reader_of(), 1234567) == "1,234,567"
    assert formats.write_number(reader_of("ar"), 1234567) == "1,234,567"
    assert formats.write_number(reader_of(), 0.5) == "0.5"
    assert formats.write_percent(reader_of(), 0.256) == "26%"
    assert formats.write_percent(reader_of(), 0.0312, 1) == "3.1%"
    assert "26" in formats.write_percent(reader_of("ar"), 0.256)


@given(st.timedeltas(timedelta(days=-9000), timedelta(days=9000)).map(lambda distance: NOW + distance))
def test_every_time_can_be_written_in_every_language(moment: datetime) -> None:
    for code in LANGUAGES:
        reader = reader_of(code, "Asia/Kolkata")
        assert formats.write_datetime(reader, moment)
        assert formats.write_time_ago(reader, moment, NOW)
