"""The file to share: what it holds is what a server would have answered. test_page.py opens it in a browser."""

import base64
import gzip
import json
import re

import pytest

from patchmosaic.app.ask import Ask
from patchmosaic.app.export import export
from patchmosaic.errors import LabelError, PatchMosaicError


def recording(path):
    return json.loads(re.search(r'id="recording">(.*?)</script>', path.read_text(), re.DOTALL)[1])


def unzipped(text):
    return [json.loads(line) for line in gzip.decompress(base64.b64decode(text)).splitlines()]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    from patchmosaic.app.session import Session

    session = Session("digits", images=60)
    path = tmp_path_factory.mktemp("share") / "digits.html"
    heard = []
    export(session, path, ["bbELS", "Wiener"], [5, 2], steps=3, progress=lambda *state: heard.append(state))
    return session, path, heard


def test_it_holds_what_a_server_answers(exported):
    session, path, _ = exported
    record = recording(path)
    assert set(record["answers"]) == {
        f"{kind}?{Ask('digits', machine, seed, steps=3).query()}"
        for machine, kinds in (("bbELS", ("trajectory", "provenance")), ("Wiener", ("trajectory",)))
        for kind in kinds
        for seed in (5, 2)
    }
    ask = Ask("digits", "bbELS", 2, steps=3)
    assert unzipped(record["answers"][f"trajectory?{ask.query()}"]) == list(session.trajectory(ask))
    assert unzipped(record["answers"][f"provenance?{ask.query()}"]) == list(session.provenance(ask))


def test_it_offers_no_more_than_it_holds(exported):
    _, path, _ = exported
    facts = recording(path)["facts"]
    assert facts["seeds"] == [5, 2]
    assert [machine["name"] for machine in facts["machines"]] == ["bbELS", "Wiener"]
    assert (facts["classes"], facts["patch_sizes"]) == ([], [])
    assert (facts["start"]["seed"], facts["start"]["steps"]) == (5, 3)


def test_it_holds_every_training_image_that_a_pixel_comes_from(exported):
    from patchmosaic.app.messages import unpacked

    _, path, _ = exported
    record = recording(path)
    (message,) = unzipped(record["images"])
    held = {image["position"] for image in message["images"]}
    for key, text in record["answers"].items():
        if key.startswith("provenance"):
            assert all(set(unpacked(one["provenance"]["image"]).ravel().tolist()) <= held for one in unzipped(text))


def test_it_needs_nobody_else(exported):
    _, path, _ = exported
    page = path.read_text()
    outside = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)[^\"'\s>)]+", page)
    assert outside == []
    assert "default-src 'none'" in page


def test_it_tells_its_progress(exported):
    _, _, heard = exported
    assert ("recording", 4, 4) in heard
    assert any(what == "tracing pixels to their sources" for what, _, _ in heard)


def test_bad_input_is_told_and_writes_nothing(exported, tmp_path):
    session, _, _ = exported
    path = tmp_path / "none.html"
    with pytest.raises(PatchMosaicError, match="Known: IS"):
        export(session, path, ["XYZ"])
    with pytest.raises(PatchMosaicError, match="at least one seed"):
        export(session, path, ["IS"], [])
    with pytest.raises(LabelError, match="no images of this class"):
        export(session, path, ["IS"], [0], label=77)
    assert not path.exists()
