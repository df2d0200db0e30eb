"""Pages of the portal for a developer with many keys and a year of usage: how soon, and how much, they answer."""

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import httpx2

from bench.report import Result, progress
from bench.setting import Service, Setting, connection, key_id, load_keys
from server.postgres.queries import load
from tests.browser import Browser, Page

KEYS = 10_000
_ROUNDS = 40
_GOAL_MILLISECONDS = 50
_FIRST_LOAD_KIBIBYTES = 150
_SQL = load(Path(__file__).with_suffix(".sql"))
_PROFILE = {"displayName": "Bench", "contactEmail": "bench@example.com", "termsVersion": "1"}
_PAGES = {
    "overview": "/portal/",
    "API keys": "/portal/keys",
    "API keys, filtered": "/portal/keys?q=9999",
    "one key, by day": f"/portal/keys/{key_id(KEYS)}?by=day",
    "one key, throttling": f"/portal/keys/{key_id(KEYS)}/throttling",
    "one key, secrets": f"/portal/keys/{key_id(KEYS)}/secrets",
    "usage & billing": "/portal/usage",
    "audit log": "/portal/audit",
    "account": "/portal/account",
}


async def portal(setting: Setting) -> Sequence[Result]:
    """Load a developer, sign in, and open every page many times over one connection."""
    url = await setting.database("portal")
    async with setting.service(url, f"127.0.0.1:{_free_port()}") as service:
        async for _ in load_keys(url, service.developer_id, KEYS):
            progress(f"{KEYS:,} keys loaded")
        await _load_usage(url)
        async with Browser(f"http://{service.http}") as browser:
            page = await _sign_in(service, browser)
            cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        headers = {"cookie": cookies, "accept-language": "en"}
        async with httpx2.AsyncClient(base_url=f"http://{service.http}", headers=headers, trust_env=False) as http:
            results = [await _first_load(page, http)]
            results += [await _time(name, path, http) for name, path in _PAGES.items()]
        return results


async def _load_usage(url: str) -> None:
    async with connection(url) as database:
        await database.execute("SET session_replication_role = replica")
        await database.execute("SET synchronous_commit = off")
        for name, statement in _SQL.items():
            await database.execute(statement)
            progress(f"usage loaded: {name}")
        await database.execute("VACUUM (ANALYZE)")
        await database.execute("CHECKPOINT")


async def _sign_in(service: Service, browser: Browser) -> Page:
    async with httpx2.AsyncClient(base_url=f"http://{service.http}", headers=service.bearer) as api:
        (await api.post("/v1/developer/account", json=_PROFILE)).raise_for_status()
    name, _, password = service.account.partition(":")
    page = await browser.follow(await browser.open("/portal/"))
    page = await browser.follow(await browser.submit(page, "username", username=name, password=password))
    if page.status != 200:
        raise RuntimeError(f"the portal answered {page.status}")
    return page


async def _first_load(page: Page, http: httpx2.AsyncClient) -> Result:
    """Add up what a browser fetches that has nothing of ours yet: the page and its styles, script and images."""
    named = {value for _, has in page.document.attributes for value in has.values() if value.startswith("/assets/")}
    size = sum([len((await http.get(path)).content) for path in ("/portal/", *sorted(named))])
    return Result(what="portal, first load", ours=f"{size / 1024:.0f} KiB", goal=f"<= {_FIRST_LOAD_KIBIBYTES} KiB")


async def _time(name: str, path: str, http: httpx2.AsyncClient) -> Result:
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        answer = await http.get(path)
        times.append((time.perf_counter() - started) * 1000)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")
    low, _, high = quantiles(times, n=20)[0], median(times), quantiles(times, n=20)[-1]
    return Result(
        what=f"portal, {name}, {KEYS:,} keys",
        ours=f"{median(times):.0f} ms",
        ratio=f"({low:.0f}-{high:.0f} ms)",
        goal=f"<= {_GOAL_MILLISECONDS} ms",
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
