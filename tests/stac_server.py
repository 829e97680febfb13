"""A STAC catalogue of tiny local files, served on loopback: with a search or plain, and with faults."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

WEST, NORTH, CRS = 500_000.0, 5_100_000.0, "EPSG:32633"  # in the south of tile 33TWM
BOX = [15.0, 46.04, 15.02, 46.06]


def write(file: Path, pixels: np.ndarray, size: float = 10) -> Path:
    """Write a plain image, as catalogues have them: without scale or offset."""
    file.parent.mkdir(parents=True, exist_ok=True)
    place = Affine(size, 0, WEST, 0, -size, NORTH)
    shape = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "dtype": pixels.dtype}
    with rasterio.open(file, "w", driver="GTiff", crs=CRS, transform=place, **shape) as image:
        image.write(pixels, 1)
    return file


class Catalogue:
    """Items and files of a folder, served until :meth:`close`.

    Attributes:
        faults: Path of a request: faults that come one after the other, then it is answered well. A fault is
            a status, ``"stall"`` or ``"cut"``.
        asked: How often each path was asked for.
        per_page: Items of an answer to a search.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.items, self.per_page = folder, [], 1
        self.faults: dict[str, list[Any]] = {}
        self.asked: Counter[str] = Counter()
        self.headers: dict[str, str] = {}
        self.stalled = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            do_HEAD = do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.stalled.set()
        self.server.shutdown()
        self.server.server_close()

    def add(
        self, name: str, bands: dict[str, np.ndarray], collection: str = "sentinel-2-l2a", **facts: Any
    ) -> dict[str, Any]:
        """Add an item; `facts` are its properties, but for `of_assets`, which each asset states."""
        stated, assets = facts.pop("of_assets", {}), {}
        for key, pixels in bands.items():
            file = write(self.folder / name / f"{key}.tif", pixels, 10 * 40 / pixels.shape[0])
            content = file.read_bytes()
            assets[key] = {
                **{"href": f"{self.url}/{name}/{key}.tif", "type": "image/tiff", "roles": ["data"]},
                **{"file:size": len(content), "file:checksum": "1220" + hashlib.sha256(content).hexdigest()},
                **({} if key in ("scl", "SCL", "Fmask") else stated),
            }
        item = {
            **{"type": "Feature", "stac_version": "1.0.0", "id": name, "collection": collection},
            **{"bbox": BOX, "links": [], "assets": assets, "stac_extensions": []},
            "geometry": {"type": "Point", "coordinates": BOX[:2]},
            "properties": {"eo:cloud_cover": 10.0, "grid:code": "MGRS-33TWM", **facts},
        }
        self.items.append(item)
        return item

    # === Answers ===

    def answer(self, ask: BaseHTTPRequestHandler) -> None:
        path = ask.path.split("?")[0]
        self.asked[path] += 1
        self.headers = dict(ask.headers)
        body = ask.rfile.read(int(ask.headers.get("Content-Length") or 0))
        waiting = self.faults.get(path)
        fault = waiting.pop(0) if waiting else None
        content = self.content(path, body)
        status = fault if isinstance(fault, int) else 404 if content is None else 200
        if fault == "stall":
            self.stalled.wait(20)
            ask.close_connection = True
            return
        content = content if status == 200 and content is not None else b"{}"
        span = ask.headers.get("Range", "")
        ask.send_response(206 if span and status == 200 else status)
        if span and status == 200:
            first, last = (int(part or len(content) - 1) for part in span.removeprefix("bytes=").split("-"))
            last = min(last, len(content) - 1)
            ask.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        ask.send_header("Content-Length", str(len(content)))
        ask.send_header("Content-Type", "application/json" if content[:1] == b"{" else "image/tiff")
        ask.send_header("Accept-Ranges", "bytes")
        ask.end_headers()
        if ask.command != "HEAD":
            ask.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        if fault == "cut":
            ask.close_connection = True

    def content(self, path: str, body: bytes) -> bytes | None:
        if path == "/":
            return self.root(
                ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
            )
        if path == "/static/catalog.json":
            return self.root(None)
        if path == "/search":
            return self.found(json.loads(body))
        if path.startswith("/static/"):
            found = [item for item in self.items if path == f"/static/{item['id']}.json"]
            return json.dumps(found[0]).encode() if found else None
        file = self.folder / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def root(self, conforms: list[str] | None) -> bytes:
        links = [{"rel": "root", "href": f"{self.url}/"}, {"rel": "self", "href": f"{self.url}/"}]
        if conforms:
            links.append(
                {
                    "rel": "search",
                    "href": f"{self.url}/search",
                    "method": "POST",
                    "type": "application/geo+json",
                }
            )
        else:
            links = [{"rel": "item", "href": f"./{item['id']}.json"} for item in self.items]
        catalogue = {
            "type": "Catalog",
            "id": "local",
            "description": "local",
            "stac_version": "1.0.0",
            "links": links,
        }
        return json.dumps(catalogue | ({"conformsTo": conforms} if conforms else {})).encode()

    def found(self, asked: dict[str, Any]) -> bytes:
        """Answer in pages; days and clouds are left to who asks."""
        mine = [item for item in self.items if item["collection"] in asked["collections"]]
        page = int(asked.get("token", 0))
        links = [
            {
                "rel": "next",
                "href": f"{self.url}/search",
                "method": "POST",
                "body": {**asked, "token": page + 1},
            }
        ]
        more = (page + 1) * self.per_page < len(mine)
        part = mine[page * self.per_page :][: self.per_page]
        return json.dumps(
            {"type": "FeatureCollection", "features": part, "links": links if more else []}
        ).encode()
