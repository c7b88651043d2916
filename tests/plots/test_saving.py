"""Every display says in words what it shows, and is written whole in the format that the suffix names."""

import io
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
from display_cases import EDGES, LEVELS, make_calibration, make_comparison, make_densities, make_points, make_variants, r_of
from PIL import Image
from study_cases import STUDIES

import patchmosaic.plots
from patchmosaic.errors import PatchMosaicError
from patchmosaic.plots import (
    DensitiesDisplay,
    Display,
    FamilyMapDisplay,
    LocalityScaleDisplay,
    PointsDisplay,
    ScatterDisplay,
    SideBySideDisplay,
    SummaryDisplay,
    TrainingCurveDisplay,
    VariantErrorsDisplay,
    VariantMapDisplay,
    VariantSamplesDisplay,
)

DISPLAYS = {
    "scatter": lambda: ScatterDisplay.from_comparison(make_comparison()),
    "summary": lambda: SummaryDisplay.from_comparison(make_comparison()),
    "side by side": lambda: SideBySideDisplay.from_comparison(make_comparison(), count=3),
    "scale": lambda: LocalityScaleDisplay.from_calibrations([make_calibration()]),
    "curve": lambda: TrainingCurveDisplay(np.arange(1.0, 31), np.geomspace(1, 0.1, 30)),
    "variants' samples": lambda: VariantSamplesDisplay(make_variants()),
    "variants' errors": lambda: VariantErrorsDisplay(make_variants(), LEVELS),
    "variants' map": lambda: VariantMapDisplay(make_variants()),
    "families' map": lambda: FamilyMapDisplay(make_variants()),
    "densities": lambda: DensitiesDisplay(make_densities(), EDGES),
    "points": lambda: PointsDisplay(make_points(), np.eye(2)),
    **STUDIES,
}


def test_no_display_is_forgotten():
    public = (getattr(patchmosaic.plots, name) for name in patchmosaic.plots.__all__)
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Display)}
    assert {type(make()) for make in DISPLAYS.values()} == kinds - {Display}


@pytest.mark.parametrize("name", DISPLAYS)
def test_each_is_saved_in_every_format(tmp_path, name):
    display = DISPLAYS[name]()
    assert display.save(tmp_path / "new" / "a.png", dpi=80) == tmp_path / "new" / "a.png"
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == pytest.approx([80 * inches for inches in display.size], abs=1)
        assert len(np.unique(np.asarray(picture.convert("L")))) > 5  # not a blank sheet
    assert display.save(str(tmp_path / "a.SVG")).exists()
    assert xml.etree.ElementTree.parse(tmp_path / "a.SVG").getroot().tag.endswith("svg")
    assert display.save(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.SVG", "a.pdf", "new"]


@pytest.mark.parametrize("name", DISPLAYS)
def test_a_notebook_is_given_a_png(name):
    with Image.open(io.BytesIO(DISPLAYS[name]()._repr_png_())) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize("name", ["a.docx", "a", "a.", "png"])
def test_an_unknown_suffix_is_answered_with_the_known_ones(tmp_path, name):
    display = DISPLAYS["scatter"]()
    with pytest.raises(PatchMosaicError, match=r"cannot write a picture of this kind.*Known: .*pdf.*png.*svg"):
        display.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file(tmp_path):
    display = DISPLAYS["scatter"]().plot()
    path = display.save(tmp_path / "a.png", dpi=40)
    before = path.read_bytes()
    display.figure_.savefig = lambda *args, **options: (_ for _ in ()).throw(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        display.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_alt_text_tells_the_numbers():
    comparison = make_comparison()
    ideal, els = r_of(comparison, "IS"), r_of(comparison, "ELS")
    for name, needed in {
        "scatter": ["7 seeds", "ELS", f"{np.mean(els > ideal):.0%}", f"{np.median(ideal):.2f}", f"{np.median(els):.2f}"],
        "summary": [f"ELS {np.median(els):.3f}", f"IS {np.median(ideal):.3f}", "95%"],
        "side by side": ["3 columns", f"ELS (median r {np.median(els):.2f})", "network"],
        "scale": ["ELS", f"{make_calibration().scale.patch_sizes[0]} pixels at the lowest noise"],
        "families' map": ["Denoisers by", "two denoisers made from different images"],
        "densities": ["2 panels", "300 samples", "one 0.125", "of many words 0.250"],
        "points": ["200 points", "one $spot$: off by 0.5"],
        "curve": ["30 steps", "1.000", "0.100"],
    }.items():
        alt = DISPLAYS[name]().alt
        for words in needed:
            assert words in alt, name


def test_matplotlib_is_imported_when_drawing_and_pyplot_never():
    program = """
import sys
import patchmosaic, patchmosaic.plots, patchmosaic.report
assert not [name for name in sys.modules if name.startswith("matplotlib")]
import numpy as np
from patchmosaic.plots import TrainingCurveDisplay
display = TrainingCurveDisplay(np.arange(1.0, 9), np.geomspace(1, 0.1, 8))
display.alt
assert "matplotlib" not in sys.modules
display.png(dpi=40)
assert "matplotlib.figure" in sys.modules
from matplotlib.figure import Figure
display.plot(Figure().subplots())
assert "matplotlib.pyplot" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
