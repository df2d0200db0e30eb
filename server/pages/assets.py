"""Style sheets, scripts and pictures: read once, served for ever under an address that names their content."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asset:
    digest: str
    media_type: str
    content: bytes


class Assets:
    """All files of some folders, by name. Raises ValueError for a file of a type we do not serve, or a name twice."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._assets: dict[str, _Asset] = {}
        for folder in folders:
            for path in sorted(folder.iterdir()):
                self._read(path)

    def url(self, name: str) -> str:
        """Return the path of an asset. Raises KeyError for an unknown one, so that no page links to nothing."""
        return f"/assets/{self._assets[name].digest}/{name}"

    def route(self) -> Route:
        """Return the route that serves them."""
        return Route("/assets/{digest}/{name}", self._serve, methods=["GET"])

    async def _serve(self, request: Request) -> Response:
        """Answer with one file. An address of another content than ours is as unknown as any other."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None or asset.digest != request.path_params["digest"]:
            raise HTTPException(404)
        return Response(asset.content, media_type=asset.media_type, headers={"cache-control": _FOR_EVER})

    def _read(self, path: Path) -> None:
        if path.suffix not in _TYPES or path.name in self._assets:
            raise ValueError(f"not an asset we can serve: {path.name}")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        self._assets[path.name] = _Asset(digest=digest, media_type=_TYPES[path.suffix], content=content)
