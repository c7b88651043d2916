"""The routes, judged by the library itself: what the page is told is what `sample`, `trace` and the pool say."""

import json
import threading
import time

import httpx
import numpy as np
import pytest
from explorer_cases import IMAGES

from patchmosaic.app import server
from patchmosaic.app.messages import unpacked
from patchmosaic.app.session import Session
from patchmosaic.app.subjects import TOY
from patchmosaic.data import load
from patchmosaic.denoisers import BoundaryBrokenDenoiser
from patchmosaic.errors import MissingExtraError, PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.plots.grid import to_pixels
from patchmosaic.provenance import trace
from patchmosaic.sampling import sample, seeds

ASK = {"source": "digits", "machine": "bbELS", "seed": 3, "steps": 4, "patch_sizes": "7,5,5,3"}


def told(client, kind, **fields):
    answer = client.get(f"/api/{kind}", params=fields)
    assert answer.status_code == 200, answer.text
    messages = [json.loads(line) for line in answer.text.splitlines()]
    return [message for message in messages if "progress" not in message]


def drawn(label=None):
    pool = load("digits", None, limit=IMAGES)
    machine = BoundaryBrokenDenoiser(pool, LocalityScale.from_steps(BoundaryBrokenDenoiser(pool, 3).schedule, [3, 5, 5, 7]))
    return machine, sample(machine, seeds([3], pool.image_shape) * machine.schedule.prior_std(), 4, label)


def test_facts_say_what_can_be_asked(client):
    ((choices,), (facts,)) = (told(client, "choices"), told(client, "facts", source="digits"))
    assert choices["choices"] == ["digits", TOY]
    facts = facts["facts"]
    assert (facts["shape"], facts["images"], facts["usual"], facts["total"]) == ([1, 8, 8], IMAGES, IMAGES, 1797)
    assert [one["label"] for one in facts["classes"]] == list(range(10))
    assert {one["name"] for one in facts["machines"] if not one["traceable"]} == {"Wiener"}
    assert {one["name"] for one in facts["machines"] if one["wraps"]} == {"ELS", "ES"}
    assert facts["patch_sizes"] == [3, 5, 7]


@pytest.mark.parametrize("label", [None, 4])
def test_a_trajectory_is_the_librarys(client, label):
    began, *steps = told(client, "trajectory", **ASK, **({} if label is None else {"label": label}))
    _, truth = drawn(label)
    assert began["began"]["patch_sizes"] == [7, 5, 5, 3]
    assert [step["step"]["number"] for step in steps] == [0, 1, 2, 3]
    for step, x0_hat in zip(steps, truth.x0_hats, strict=True):
        assert unpacked(step["step"]["x0_hat"]).tolist() == to_pixels(x0_hat)[0].tolist()


def test_a_scale_without_steps_of_its_own_is_told_step_by_step(client):
    (began, *_) = told(client, "trajectory", **{**ASK, "patch_sizes": ""})
    assert began["began"]["patch_sizes"] == [7, 5, 5, 3]


def test_provenance_is_what_trace_finds(client):
    machine, truth = drawn()
    answers = [answer["provenance"] for answer in told(client, "provenance", **ASK, first=1)]
    assert [answer["number"] for answer in answers] == [1, 3, 2, 0]
    for answer in answers:
        number = answer["number"]
        p = trace(machine, truth.states[number], float(truth.times[number]), top=8)
        for name in ("image", "row", "column"):
            assert unpacked(answer[name]).tolist() == getattr(p, name)[0].tolist()
        for name in ("weight", "entropy", "entropy_share", "effective_patches", "effective_images"):
            np.testing.assert_allclose(unpacked(answer[name]), getattr(p, name)[0], rtol=1e-6, atol=1e-30)
        assert unpacked(answer["candidates"]).tolist() == p.candidates[0].tolist()


def test_training_images_come_from_the_pool(client):
    pool = load("digits", None, limit=IMAGES)
    (answer,) = told(client, "images", source="digits", at="7,0,99")
    for record, position in zip(answer["images"], (7, 0, 99), strict=True):
        assert record["position"] == position
        assert record["label"] == int(pool.labels[position])
        assert unpacked(record["pixels"]).tolist() == to_pixels(pool.images[position : position + 1])[0].tolist()


def test_the_belief_of_the_toy_is_its_grey(client):
    """With black at -1 and white at 1, x0_hat = 2 w - 1 for a belief w in white: a closed form for what the page says."""
    ask = {"source": TOY, "machine": "ELS", "seed": 0, "steps": 12}
    steps = [unpacked(message["step"]["x0_hat"]) for message in told(client, "trajectory", **ask)[1:]]
    for message in told(client, "provenance", **ask):
        answer = message["provenance"]
        image, weight, count = (unpacked(answer[name]) for name in ("image", "weight", "count"))
        white = np.where(image == 1, weight, 0).sum(-1)
        np.testing.assert_allclose(255 * white, steps[answer["number"]], atol=0.51)
        np.testing.assert_allclose(weight.sum(-1), 1, rtol=1e-5)
        assert set(count.ravel().tolist()) == {12 * 12}
    assert {0, 255} == set(steps[-1].ravel().tolist())


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("facts", {"source": "/etc"}, "There are: digits"),
        ("facts", {}, "no such data"),
        ("trajectory", {"source": "digits"}, "must name its machine"),
        ("trajectory", {**ASK, "machine": "XYZ"}, "Known: IS, ES, LS"),
        ("trajectory", {**ASK, "seed": "two"}, "seed must be a whole number"),
        ("trajectory", {**ASK, "steps": "0"}, "from 1 to 500"),
        ("trajectory", {**ASK, "patch_sizes": "4"}, "Try 3 or 5"),
        ("trajectory", {**ASK, "patch_sizes": "3,5"}, "2 for 4 steps"),
        ("trajectory", {**ASK, "label": "77"}, "no images of this class"),
        ("trajectory", {**ASK, "images": "0"}, "from 1 up"),
        ("provenance", {**ASK, "machine": "Wiener"}, "linear filter"),
        ("images", {"source": "digits", "at": "100"}, "images 0 to 99"),
        ("images", {"source": "digits", "at": "../x"}, "whole number"),
        ("results", {"source": "digits"}, "patchmosaic compare"),
    ],
)
def test_bad_input_gets_a_message_not_a_trace(client, kind, fields, said):
    answer = client.get(f"/api/{kind}", params=fields)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_only_this_machine_under_its_own_name_may_ask(client):
    assert client.get("/api/choices", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/").headers["content-type"].startswith("text/html")


def test_the_page_and_its_parts_are_served(client):
    page = client.get("/").text
    for name in ("style.css", "main.js", "live.js"):
        assert f"/page/{name}" in page
        assert client.get(f"/page/{name}").status_code == 200
    assert client.get("/page/../server.py").status_code == 404


def test_a_reader_who_leaves_ends_the_work(session, serving, monkeypatch):
    begun, stopped = threading.Event(), threading.Event()

    def endless(self, ask, progress):
        try:
            yield {"began": {}}
            begun.set()
            while True:
                progress("drawing", 0, 1)
                time.sleep(0.01)
        finally:
            stopped.set()

    monkeypatch.setattr(Session, "trajectory", endless)
    address = serving(server.application(session))
    with httpx.stream("GET", f"{address}/api/trajectory", params=ASK, timeout=20) as answer:
        lines = answer.iter_lines()  # kept: the connection ends with its reader
        assert json.loads(next(lines)) == {"began": {}}
        assert begun.wait(20)
        assert not stopped.is_set()
    assert stopped.wait(20)
    # The one worker is free again.
    assert httpx.get(f"{address}/api/facts", params={"source": TOY}, timeout=20).status_code == 200


def test_a_taken_port_is_told():
    first = server.listening(0)
    with pytest.raises(PatchMosaicError, match="--port 0"):
        server.listening(first.getsockname()[1])
    assert first.getsockname()[0] == "127.0.0.1"
    first.close()


def test_a_missing_extra_names_its_install_line(session, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "starlette.applications", None)
    with pytest.raises(MissingExtraError, match=r"patchmosaic\[app\]"):
        server.application(session)


def test_what_was_drawn_is_not_drawn_again(client, monkeypatch):
    first = told(client, "trajectory", **ASK)
    monkeypatch.setattr(BoundaryBrokenDenoiser, "_denoise", lambda *_: pytest.fail("drawn again"))
    assert told(client, "trajectory", **ASK) == first
