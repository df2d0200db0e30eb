"""Getting an issuer's published documents over HTTP, with nothing followed, trusted or buffered beyond need."""

import ipaddress

import httpx2

from server.identity.strict_json import JsonObject, parse_object

_MAX_DOCUMENT_SIZE = 256 * 1024


class FetchError(Exception):
    """A document could not be had. The text is for the log and holds nothing the other side sent."""


class DocumentFetcher:
    """Fetches JSON objects. Follows no redirect, takes no proxy or credentials from the environment."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None

    async def fetch(self, url: str) -> JsonObject:
        """GET `url` and parse it strictly. Raises FetchError unless it is 200 and at most 256 KiB.

        The caller sets the deadline: a timeout of each read would not stop an answer that drips.
        """
        try:
            return parse_object(await self._read(url))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise FetchError(f"no connection ({type(error).__name__})") from None
        except ValueError:
            raise FetchError("not a well-formed JSON object") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _read(self, url: str) -> bytes:
        if self._client is None:
            self._client = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=None)
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        async with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code != httpx2.codes.OK:
                raise FetchError(f"status {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise FetchError("compressed although not asked for")  # a small answer could unfold without limit
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_DOCUMENT_SIZE:
                    raise FetchError("larger than 256 KiB")
            return bytes(body)


async def discover_jwks_url(fetcher: DocumentFetcher, issuer: str) -> str:
    """Return `jwks_uri` of the issuer's metadata (RFC 8414 section 3, then OpenID Connect Discovery section 4).

    Raises FetchError when neither document can be had, names exactly this issuer and gives a safe address.
    """
    faults = []
    for url in _metadata_urls(issuer):
        try:
            return _read_metadata(await fetcher.fetch(url), issuer)
        except FetchError as error:
            faults.append(str(error))
    raise FetchError(f"no metadata of the issuer: {'; '.join(faults)}")


def check_url(url: str, *, plaintext: bool = True) -> None:
    """Check that keys may be fetched from `url`: https, or where `plaintext` allows it http to this very machine.

    Raises ValueError with the fault; the address itself is not in it.
    """
    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError):
        raise ValueError("is not a URL") from None
    if not parts.host:
        raise ValueError("is not an absolute URL")
    if parts.userinfo or parts.fragment:
        raise ValueError("must not hold credentials or a fragment")
    if parts.scheme != "https" and not (plaintext and parts.scheme == "http" and _is_loopback(parts.host)):
        raise ValueError("must be https (plain http only to this machine)")


def check_issuer_url(issuer: str) -> None:
    """Check that metadata can be fetched for `issuer` (RFC 8414 section 2). Raises ValueError like `check_url`."""
    check_url(issuer)
    if "?" in issuer:
        raise ValueError("must not hold a query")


def _read_metadata(metadata: JsonObject, issuer: str) -> str:
    if metadata.get("issuer") != issuer:  # RFC 8414 section 3.3: otherwise one issuer could speak for another
        raise FetchError("metadata of another issuer")
    url = metadata.get("jwks_uri")
    if not isinstance(url, str):
        raise FetchError("metadata without jwks_uri")
    try:
        check_url(url, plaintext=issuer.startswith("http://"))
    except ValueError as fault:
        raise FetchError(f"jwks_uri {fault}") from None
    return url


def _metadata_urls(issuer: str) -> tuple[str, str]:
    """Return where metadata may be: the well-known part goes before the path in RFC 8414 and after it in OpenID."""
    parts = httpx2.URL(issuer)
    origin = f"{parts.scheme}://{parts.netloc.decode()}"
    path = parts.raw_path.decode().rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
