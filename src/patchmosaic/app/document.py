"""The page put together: its text, its style and its modules, in one document or as links to the server.

Modules import each other by names such as "explorer/stage"; an import map says where each is. So the same modules work from a
server and from inside a single file, and "explorer/client" is whichever of the two clients the page needs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

FOLDER = files("patchmosaic.app") / "page"
CLIENTS = ("live", "recorded")

# No picture, script or answer may come from anywhere but the server of the page, or the page itself.
LIVE_POLICY = "default-src 'self' 'unsafe-inline' data:"
RECORDED_POLICY = "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:"


def modules() -> list[str]:
    """The names of the page's modules."""
    return sorted(file.name.removesuffix(".js") for file in FOLDER.iterdir() if file.name.endswith(".js"))


def live_page() -> str:
    """The page that asks its server."""
    addresses = {name: f"/page/{name}.js" for name in modules()}
    return _page(LIVE_POLICY, '<link rel="stylesheet" href="/page/style.css">', addresses, "live")


def recorded_page(recording: Mapping[str, Any]) -> str:
    """The page with all the answers it needs inside, which works from a file without any network."""
    addresses = {name: _data_address(_text(f"{name}.js")) for name in modules()}
    # "</" could end the element early.
    record = json.dumps(recording, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    style = f"<style>\n{_text('style.css')}</style>"
    inside = f'{style}\n<script type="application/json" id="recording">{record}</script>'
    return _page(RECORDED_POLICY, inside, addresses, "recorded")


def _page(policy: str, head: str, addresses: Mapping[str, str], client: str) -> str:
    imports = {f"explorer/{name}": address for name, address in addresses.items() if name not in CLIENTS}
    imports["explorer/client"] = addresses[client]
    return Template(_text("index.html")).substitute(policy=policy, head=head, imports=json.dumps({"imports": imports}))


def _data_address(script: str) -> str:
    return "data:text/javascript;base64," + base64.b64encode(script.encode()).decode("ascii")


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
