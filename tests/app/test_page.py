"""The page in a real browser: no errors, a pixel's sources are those of the API, the keyboard reaches everything."""

import itertools
import os
import re
import shutil
import time

import pytest
from explorer_cases import IMAGES

from patchmosaic.app.export import export
from patchmosaic.app.server import application
from patchmosaic.app.session import Session
from patchmosaic.data import load
from patchmosaic.denoisers import BoundaryBrokenDenoiser
from patchmosaic.provenance import trace
from patchmosaic.sampling import sample, seeds

playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright: pip install playwright")
expect = playwright.expect
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium; the environment variable CHROMIUM names another place"
)

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(serving):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PATCHMOSAIC_DATA", raising=False)
        return serving(application(Session("digits", images=IMAGES)))


@pytest.fixture
def opened(browser):
    """Opens an address; the test fails where the page says anything in its console, or asks anybody else."""
    pages, complaints = [], []

    def open_page(where, viewport=WIDE, offline=False, **options):
        context = browser.new_context(viewport=viewport, offline=offline, **options)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if elsewhere(asked.url, where) else None)
        page.goto(where)
        pages.append(context)
        return page

    open_page.complaints = complaints
    yield open_page
    for context in pages:
        context.close()
    assert complaints == []


def elsewhere(url, where):
    return not url.startswith(("data:", where.split("#")[0]))


def ready(page):
    """Wait until all steps are drawn and traced."""
    page.wait_for_selector("#sources li")
    expect(page.locator("#busy")).not_to_have_class(re.compile("on"), timeout=20_000)
    return page


def click_pixel(page, row, column, side=8):
    box = page.locator("#own .stage").bounding_box()
    page.mouse.click(box["x"] + (column + 0.5) * box["width"] / side, box["y"] + (row + 0.5) * box["height"] / side)
    expect(page.locator("#place")).to_have_text(f"row {row}, column {column}")


def sources(page):
    return page.eval_on_selector_all(
        "#sources li[data-image]", "items => items.map(item => [Number(item.dataset.image), Number(item.dataset.weight)])"
    )


def test_a_click_shows_where_a_pixel_comes_from(opened, address):
    page = ready(opened(address + "/#source=digits&machine=bbELS&patch_sizes=3&seed=1&steps=6"))
    click_pixel(page, 2, 5)
    pool = load("digits", None, limit=IMAGES)
    machine = BoundaryBrokenDenoiser(pool, 3)
    truth = sample(machine, seeds([1], pool.image_shape) * machine.schedule.prior_std(), 6)
    p = trace(machine, truth.states[5], float(truth.times[5]))
    shown = sources(page)
    image, weight = int(p.image[0, 2, 5, 0]), float(p.weight[0, 2, 5, 0])
    assert shown[0] == [image, pytest.approx(weight, rel=1e-5)]
    assert f"image {image:,}, class {int(pool.labels[image])}" in page.text_content("#sources li")
    assert f"{float(p.entropy[0, 2, 5]):.2f} nats" in page.text_content("#charts")
    assert "3 × 3 window it sees" in page.text_content("#sentence")
    assert page.locator("#film canvas").count() == 2 * 6


def test_the_keyboard_moves_the_pixel(opened, address):
    page = ready(opened(address))
    click_pixel(page, 0, 6)
    for key, place in (
        ("ArrowDown", "row 1, column 6"),
        ("ArrowRight", "row 1, column 7"),
        ("ArrowRight", "row 1, column 7"),
        ("ArrowLeft", "row 1, column 6"),
    ):
        page.keyboard.press(key)
        expect(page.locator("#place")).to_have_text(place)
    expect(page.locator("#own .stage")).to_be_focused()
    # Every control is reached with Tab, and every picture has words.
    reached = set()
    page.focus("select[name=source]")
    for _ in range(12):
        reached.add(
            page.evaluate("document.activeElement.name || document.activeElement.id || document.activeElement.className")
        )
        page.keyboard.press("Tab")
    assert {
        "source",
        "label",
        "machine",
        "patch_size",
        "seed",
        "steps",
        "images",
        "stage",
        "play",
        "step",
        "overlay",
    } <= reached
    bare = "canvas:not([aria-hidden]):not([aria-label]), svg:not([aria-hidden]):not([aria-label]), img:not([alt])"
    assert page.locator(bare).count() == 0


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["1280", "390"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(opened, address, viewport, scheme):
    page = ready(opened(address, viewport, color_scheme=scheme))
    page.check("#overlay")
    page.wait_for_selector("#legend li")
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def test_the_toy_explains_itself(opened, address):
    page = ready(opened(address + "/#source=black+and+white"))
    assert "two images, one all black and one all white" in page.text_content("#note")
    expect(page.locator("#sentence")).to_have_text(
        "This pixel is white because in the 3 × 3 window it sees, 5 of 9 pixels lean white: "
        "all of its belief is in white patches."
    )
    page.fill("#step", "7")
    expect(page.locator("#step-words")).to_have_text(re.compile("^step 8 of 30"))
    expect(page.locator("#sentence")).to_have_text(re.compile(r"% of its belief is in white patches, .*% in black ones\.$"))
    shares = [float(share) for share in re.findall(r"([\d.]+)%", page.text_content("#sentence"))]
    assert sum(shares) == pytest.approx(100, abs=1)


def test_wrong_input_gets_a_message_and_the_page_goes_on(opened, address):
    page = ready(opened(address))
    page.select_option("select[name=patch_size]", "list")
    page.fill("input[name=patch_sizes]", "5 3")
    page.press("input[name=patch_sizes]", "Enter")
    expect(page.locator("#message")).to_contain_text("one patch size for all steps, or one for each")
    # Of an answer with status 400 the browser itself makes a note; there must be no other.
    assert [note for note in opened.complaints if "400 (Bad Request)" not in note] == []
    opened.complaints.clear()
    click_pixel(page, 1, 1)  # what was drawn before is still there
    page.select_option("select[name=patch_size]", "3")
    expect(page.locator("#message")).to_be_hidden()
    ready(page)


def test_a_machine_without_patches_says_so(opened, address):
    page = ready(opened(address))
    page.select_option("select[name=machine]", "Wiener")
    expect(page.locator("#sentence")).to_contain_text("linear filter")
    page.select_option("select[name=machine]", "IS")
    expect(page.locator("#sentence")).to_contain_text("whole image")
    assert page.locator("select[name=patch_size]").is_disabled()


def test_the_exported_file_works_from_disk_without_a_network(opened, tmp_path):
    path = export(Session("digits", images=IMAGES), tmp_path / "digits.html", ["bbELS", "IS"], [0, 3], steps=4)
    page = ready(opened(path.as_uri(), NARROW, offline=True))
    click_pixel(page, 3, 3)
    first = sources(page)
    assert first
    page.select_option("select[name=seed]", "3")
    expect(page.locator("#sources li").first).not_to_have_attribute("data-weight", str(first[0][1]))
    page.select_option("select[name=machine]", "IS")
    expect(page.locator("#sentence")).to_contain_text("whole image")
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


class Slow(Session):
    """Draws for ever, until it is cancelled; from the second time on, as usual."""

    cancelled = 0

    def trajectory(self, ask, progress):
        if self.cancelled:
            yield from super().trajectory(ask, progress)
            return
        try:
            yield from itertools.islice(super().trajectory(ask, progress), 2)
            while True:
                progress("drawing slowly", 1, ask.steps)
                time.sleep(0.01)
        finally:
            self.cancelled += 1


def test_long_work_shows_progress_and_is_cancelled(opened, serving):
    session = Slow("digits", images=IMAGES)
    page = opened(serving(application(session)))
    expect(page.locator("#doing")).to_have_text("drawing slowly: 1 of 20")
    assert session.cancelled == 0
    page.click("#cancel")
    expect(page.locator("#doing")).to_have_text("Stopped")
    page.click("#cancel:text('Go on')")
    ready(page)
    assert session.cancelled == 1


def test_the_tables_of_a_run_lead_to_its_seeds(opened, serving, run_folder):
    folder, comparison = run_folder
    page = ready(opened(serving(application(Session(str(folder)))), NARROW))
    assert page.locator("#network .stage").is_visible()
    page.click("#to-compare")
    table = page.locator("#compare table")
    expect(table).to_contain_text(f"{comparison.median('bbELS').value:.3f}".replace("-", "−"))
    assert page.locator("circle.seed").count() == 3 * 4
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    page.focus("circle.seed[aria-label^='IS, seed 2']")
    page.keyboard.press("Enter")
    expect(page.locator("#own-title")).to_have_text("What IS predicts")
    assert page.input_value("[name=seed]") == "2"
