"""Which files are served, and for how long browsers may keep them."""

import re
from pathlib import Path

import pytest

from server.pages.assets import Assets
from tests.unit.pages.site_under_test import app_of, client_of, site_of

PAGES = Path(__file__).parents[3] / "server" / "pages"


async def test_an_asset_is_kept_for_ever_under_the_address_of_its_content(tmp_path: Path) -> None:
    async with client_of(app_of(site_of(tmp_path, "{{ asset('portal.css') }}"))) as client:
        url = (await client.get("/page")).text
        answer = await client.get(url)
        head = await client.head(url)
    assert re.fullmatch(r"/assets/[0-9a-f]{16}/portal\.css", url)
    assert answer.content == (PAGES / "static" / "portal.css").read_bytes()
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    assert (head.status_code, head.content) == (200, b"")


async def test_other_content_has_another_address(tmp_path: Path) -> None:
    urls = []
    for content in ("a{}", "b{}"):
        (tmp_path / "own.css").write_text(content)
        urls.append(Assets([tmp_path]).url("own.css"))
    assert urls[0] != urls[1]


@pytest.mark.parametrize(
    "path",
    [
        "/assets/0000000000000000/portal.css",
        "/assets/{digest}/nothing.css",
        "/assets/{digest}/",
        "/assets/{digest}/../portal.css",
        "/assets/{digest}/..%2f..%2fsite.py",
        "/assets/{digest}/%2e%2e/%2e%2e/site.py",
        "/assets/{digest}/portal.css%00",
        "/assets/{digest}/templates/base.html",
        "/assets/portal.css",
        "/assets/",
    ],
)
async def test_nothing_else_is_served(tmp_path: Path, path: str) -> None:
    site = site_of(tmp_path, "{{ asset('portal.css') }}")
    async with client_of(app_of(site)) as client:
        digest = (await client.get("/page")).text.split("/")[2]
        answer = await client.get(path.format(digest=digest))
    assert answer.status_code == 404
    assert "immutable" not in answer.headers["cache-control"]


def test_an_unknown_asset_is_a_fault_of_the_template(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Assets([tmp_path]).url("nothing.css")


def test_a_file_that_browsers_do_not_need_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("internal")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        Assets([tmp_path])


def test_the_first_page_stays_small() -> None:
    assert sum(path.stat().st_size for path in (PAGES / "static").iterdir()) < 40 * 1024
    assert (PAGES / "static" / "portal.css").stat().st_size <= 25 * 1024
