"""The report is one well-formed page that needs no other file, and its numbers are numpy's."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from patchmosaic.calibration import Calibration
from patchmosaic.comparison import Comparison
from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.report import strongest, write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
MIXTURES = {"IS": 1.2, "Wiener": 0.9, "LS": 0.7, "ELS": 0.5}


def make_comparison(network_steps=150, mixtures=MIXTURES, count=5):
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (count, 1, 4, 4)).astype(np.float32)
    images = {
        name: torch.from_numpy((truth + share * rng.standard_normal(truth.shape)).astype(np.float32))
        for name, share in mixtures.items()
    }
    return Comparison(tuple(range(count)), torch.arange(count) % 2, 20, network_steps, torch.from_numpy(truth), images)


def make_calibration():
    levels = (0.1, 1.0, 10.0)
    cosine = torch.from_numpy(np.random.default_rng(0).uniform(size=(4, 3, 2)))
    return Calibration("ELS", LocalityScale(levels, (3, 3, 5)), levels, (3, 5), cosine)


class Page(HTMLParser):
    """Fails on unbalanced tags; keeps what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.headings, self.rows, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag in ("td", "th"):
            self.rows[-1][1].append([])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][1][-1].append(data)
        if "style" not in self.open:
            self.words.append(data)

    @property
    def images(self):
        return [attrs for tag, attrs in self.attributes if tag == "img"]


def written(folder, comparisons, *others, **options):
    path = write_report(folder, comparisons, *others, **options)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_holds_all_that_it_shows(tmp_path):
    page = written(tmp_path, [make_comparison()], [make_calibration()], manifest={"seeds": 5})
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert not re.search(r"https?:|//\w", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.attributes}
    assert all(attrs.get("src", "data:").startswith("data:") for _, attrs in page.attributes)
    assert len(page.images) == 4  # side by side, scatter, summary, scale
    for attrs in page.images:
        assert len(attrs["alt"]) > 30
        kind, encoded = attrs["src"].split(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 300


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return written(tmp_path_factory.mktemp("report"), [make_comparison()])


REFERENCES = [
    lambda p, y: np.corrcoef(p, y)[0, 1],
    lambda p, y: np.corrcoef(p, y)[0, 1] ** 2,
    lambda p, y: 1 - ((p - y) ** 2).sum() / ((y - y.mean()) ** 2).sum(),
    lambda p, y: p @ y / np.sqrt((p @ p) * (y @ y)),
    lambda p, y: ((p - y) ** 2).mean(),
]


def medians(comparison, name):
    y = comparison.network_images.double().flatten(1).numpy()
    p = comparison.images[name].double().flatten(1).numpy()
    return [np.median([metric(a, b) for a, b in zip(p, y, strict=True)]) for metric in REFERENCES]


def r_of(comparison, name):
    y = comparison.network_images.double().flatten(1).numpy()
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(comparison.images[name].double().flatten(1), y, strict=True)])


def test_the_table_holds_the_medians_and_marks_the_best(plain):
    comparison = make_comparison()
    (_, head), *rows = plain.rows
    assert [cell[0] for cell in head] == ["machine", "r", "r²", "R²", "cosine", "mean squared error", "seeds above IS"]
    names = [cells[0][0] for _, cells in rows]
    assert names == sorted(MIXTURES, key=lambda name: -medians(comparison, name)[0])
    assert [attrs.get("class") for attrs, _ in rows] == ["best", None, None, None]
    for _, cells in rows:
        name = cells[0][0]
        for cell, median in zip(cells[1:6], medians(comparison, name), strict=True):
            value, interval = cell
            assert value == f"{median:.3f}".replace("-", "−")
            low, high = (float(end.replace("−", "-")) for end in interval.split(" to "))
            assert low - 5e-4 <= median <= high + 5e-4
        above = np.mean(r_of(comparison, name) > r_of(comparison, "IS"))
        assert "".join(cells[6]) == ("" if name == "IS" else f"{above:.0%}")


def test_the_lead_names_the_best_machine_beside_both_baselines(plain):
    comparison = make_comparison()
    words = "".join(plain.words)
    assert strongest(comparison) == "ELS"
    assert f"ELS predicts correlates with the network's images at r = {medians(comparison, 'ELS')[0]:.2f}" in words
    assert f"(IS) reaches {medians(comparison, 'IS')[0]:.2f}" in words
    assert f"(Wiener) reaches {medians(comparison, 'Wiener')[0]:.2f}" in words


def test_a_baseline_that_wins_is_marked_as_the_best(tmp_path):
    comparison = make_comparison(mixtures={"IS": 1.2, "Wiener": 0.1, "ELS": 0.9})
    assert strongest(comparison) == "ELS"
    rows = written(tmp_path, [comparison]).rows
    assert [cells[0][0] for attrs, cells in rows if attrs.get("class") == "best"] == ["Wiener"]


def test_baselines_alone_can_be_reported(tmp_path):
    page = written(tmp_path, [make_comparison(mixtures={"IS": 0.3, "Wiener": 0.9})])
    assert len(page.images) == 2  # IS is not drawn against itself


def test_names_are_escaped_wherever_they_stand(tmp_path):
    evil = "<script>alert('x')</script>\"&"
    comparison = make_comparison(mixtures={"IS": 1.2, evil: 0.2})
    page = written(tmp_path, [comparison], manifest={evil: evil, "nested": {evil: evil}}, class_names=[evil, "</style>"])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "script" not in {tag for tag, _ in page.attributes}
    assert "".join(page.words).count(evil) >= 6  # lead, caption, table, glossary, manifest
    assert any(evil in attrs["alt"] for attrs in page.images)


def test_dollars_in_names_are_no_placeholders(tmp_path):
    page = written(tmp_path, [make_comparison(mixtures={"IS": 1.2, "$title": 0.2})], manifest={"$body": "${x} $"})
    words = "".join(page.words)
    assert "$title" in words
    assert "$body: ${x} $" in words


def test_each_comparison_has_its_heading(tmp_path):
    page = written(tmp_path, [make_comparison(150), make_comparison(20)])
    assert page.headings == ["Against 150 network steps", "Against 20 network steps", "The machines"]
    assert len(page.images) == 6
    single = written(
        tmp_path, [make_comparison(150)], [make_calibration()], manifest={"seeds": 5, "versions": {"torch": "2.5"}}
    )
    assert single.headings == ["Side by side", "How far a pixel looks", "The machines", "How this was made"]
    assert "seeds: 5\nversions: torch 2.5" in "".join(single.words)


def test_the_picture_says_how_many_seeds_it_shows(tmp_path, plain):
    assert "all 5 seeds, none picked" in "".join(plain.words)
    words = "".join(written(tmp_path, [make_comparison(150, count=12)]).words)
    assert "the first 10 of 12 seeds, none picked. The network took 150 steps, the machines 20." in words


def test_there_must_be_a_comparison(tmp_path):
    with pytest.raises(PatchMosaicError, match=r"no comparison to report.*patchmosaic\.compare"):
        write_report(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_the_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = tmp_path / "new"
    path = write_report(folder, [make_comparison()])
    held = path.open(encoding="utf-8")
    before = path.read_text(encoding="utf-8")
    write_report(folder, [make_comparison(20)])
    with held:
        assert held.read() == before  # the old file was not written over but renamed away
    after = path.read_text(encoding="utf-8")
    assert after != before
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(folder, [make_comparison()])
    assert path.read_text(encoding="utf-8") == after
    assert [entry.name for entry in folder.iterdir()] == ["report.html"]
