"""`patchmosaic explore`, without opening a browser."""

import json

import pytest
from command_line import runner

from patchmosaic.errors import PatchMosaicError

pytest.importorskip("starlette", reason="the explorer needs starlette: pip install 'patchmosaic[app]'")
pytest.importorskip("uvicorn", reason="the explorer needs uvicorn")


run = runner("explore")


def test_it_writes_one_file_to_share(tmp_path):
    path = tmp_path / "share" / "digits.html"
    options = ("--limit", 30, "--seeds", 1, "--steps", 2, "--machine", "IS", "--class", 3, "--json")
    record = json.loads(run("digits", "--export", path, *options).stdout)
    assert record == {"file": str(path), "bytes": path.stat().st_size}
    assert list(tmp_path.rglob("*.html")) == [path]


@pytest.mark.parametrize("browser", ["--browser", "--no-browser"])
def test_it_serves_at_the_address_that_it_tells(monkeypatch, browser):
    served, shown = [], []
    monkeypatch.setattr("patchmosaic.app.server.serve", lambda session, listener: served.append((session, listener)))
    monkeypatch.setattr("webbrowser.open", shown.append)
    address = json.loads(run("digits", browser, "--json").stdout)["address"]
    ((session, listener),) = served
    host, port = listener.getsockname()
    listener.close()
    assert address == f"http://{host}:{port}/"
    assert host == "127.0.0.1"
    assert session.names[0] == "digits"
    assert shown == ([address] if browser == "--browser" else [])


def test_bad_input_is_told(tmp_path):
    with pytest.raises(PatchMosaicError, match="no data set of this name"):
        run("no-such-data", "--export", tmp_path / "x.html")
    with pytest.raises(PatchMosaicError, match="no data set of this name"):
        run("no-such-data", "--no-browser")
    with pytest.raises(PatchMosaicError, match="Known: IS"):
        run("digits", "--export", tmp_path / "x.html", "--machine", "XYZ")
    assert not (tmp_path / "x.html").exists()
