"""Whose word about the client counts."""

from ipaddress import ip_network

import pytest

from server.web.app import web_app
from tests.unit.web.browser import client_of, hello

PROXY = "10.0.0.1"
APP = web_app(hello, ready=dict, openapi=b"{}", trusted_proxies=[ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["6.6.6.6", "198.51.100.7", "10.0.0.2"], "198.51.100.7"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1, ::ffff:10.0.0.2"], "2001:db8::1"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, nonsense"], PROXY),
        (["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        (["198.51.100.7,"], PROXY),
        (["\xff\xfe"], PROXY),
        ([""], PROXY),
        ([], PROXY),
    ],
)
async def test_the_rightmost_untrusted_hop_is_the_client(forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    async with client_of(APP, peer=PROXY) as http:
        answer = await http.get("/", headers=headers)
    assert answer.text == f"http {client}"


@pytest.mark.parametrize(
    ("forwarded", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("http, https", "https"), ("ftp", "http"), ("", "http")],
)
async def test_a_proxy_says_through_which_scheme_it_was_asked(forwarded: str, scheme: str) -> None:
    async with client_of(APP, peer=PROXY) as http:
        answer = await http.get("/", headers={"x-forwarded-proto": forwarded})
    assert answer.text == f"{scheme} {PROXY}"


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::9", "unix", ""])
async def test_a_strangers_word_does_not_count(peer: str) -> None:
    async with client_of(APP, peer=peer) as http:
        answer = await http.get("/", headers={"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https"})
    assert answer.text == f"http {peer}"


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "fd00::1"])
async def test_a_proxy_may_come_over_ipv6(peer: str) -> None:
    async with client_of(APP, peer=peer) as http:
        answer = await http.get("/", headers={"x-forwarded-for": "198.51.100.7"})
    assert answer.text == "http 198.51.100.7"
