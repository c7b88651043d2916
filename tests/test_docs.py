"""The documentation names what there is: every verb, every machine, and no file that is not there."""

import re
from pathlib import Path

import pytest

from patchmosaic.cli.main import app
from patchmosaic.denoisers import MACHINES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
VERBS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb):
    assert f"patchmosaic {verb}" in (ROOT / "docs" / "command-line.md").read_text()


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_is_documented(machine):
    assert re.search(rf"\b{machine}\b", (ROOT / "README.md").read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()) + re.findall(r'src="([^"]+)"', page.read_text())
    for target in targets:
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_verbs_in_commands_exist():
    for page in PAGES:
        for verb in re.findall(r"^ *(?:\.venv/bin/)?patchmosaic ([a-z]+)", page.read_text(), re.MULTILINE):
            assert verb in VERBS, (page.name, verb)


def test_the_map_shows_the_house():
    """Every module at the top of the package is on the map, and the map shows no other."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"src/patchmosaic/\n(.*?)```", text, re.DOTALL)[1]
    shown = set(re.findall(r"(?<!\S)([a-z_]+)(?:\.py|/)(?!\S)", block))
    package = ROOT / "src" / "patchmosaic"
    there = {path.stem for path in package.glob("*.py")} - {"__init__"}
    there |= {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    engine = {path.stem for path in (package / "engine").iterdir() if not path.name.startswith("__")}
    assert shown == there | engine
