"""Results are found where they are, whatever made them, and two of a kind stand side by side."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from patchmosaic.errors import CheckpointError, PatchMosaicError
from patchmosaic.experiments.papers.catalogue import EXPERIMENTS
from patchmosaic.experiments.papers.listing import find_results, side_by_side

COMPARED = {
    "20": {
        "network_steps": 20,
        "summary": {
            "IS": {"beats_IS": 0.0, "r": {"value": 0.9, "low": 0.8, "high": 0.95}},
            "LS": {"beats_IS": 0.5, "r": {"value": 0.5, "low": 0.4, "high": 0.6}},
        },
    }
}


def comparison(folder: Path, r: float) -> Path:
    folder.mkdir(parents=True)
    results = json.loads(json.dumps(COMPARED))
    results["20"]["summary"]["LS"]["r"]["value"] = r
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "manifest.json").write_text(json.dumps({"command": "patchmosaic compare here", "seconds": 12.5}))
    return folder


def test_experiments_are_found_with_what_they_say(finished: Any) -> None:
    root, _, experiments = finished
    found = {one.what: one for one in find_results([root])}
    assert set(found) == set(EXPERIMENTS)
    for name, one in found.items():
        assert one.folder == root / f"{name}-tiny"
        assert (one.scale, one.headline) == ("tiny", experiments[name].headline())
        assert one.seconds is not None
        json.dumps(one.to_json())
    table, summary = found["table1"].numbers["r"], experiments["table1"].records.summary()
    entry = next(e for e in summary if (e["row"], e["machine"], e["network_steps"], e["metric"]) == ("zeros", "LS", 4, "r"))
    assert table["zeros, LS, 4 network steps"].value == entry["median"]


def test_comparisons_are_found_too(tmp_path: Path) -> None:
    comparison(tmp_path / "runs" / "a", 0.5)
    comparison(tmp_path / "runs" / "a" / "samples" / "hidden", 0.7)
    (one,) = find_results([tmp_path])
    assert (one.what, one.seconds, one.headline) == ("compare", 12.5, "LS r 0.50 at 20 network steps")


def test_results_of_a_kind_stand_side_by_side(finished: Any, tmp_path: Path) -> None:
    root, _, _ = finished
    shutil.copytree(root / "table1-tiny", tmp_path / "table1-tiny")
    results = [*find_results([root, tmp_path]), *find_results([comparison(tmp_path / "a", 0.25)])]
    results += find_results([comparison(tmp_path / "b", 0.75)])
    tables = {table.head[0]: table for table in side_by_side(results)}
    assert set(tables) == {"table1", "compare"}
    assert tables["table1"].head[1:] == [str(root / "table1-tiny"), str(tmp_path / "table1-tiny")]
    assert all(line[1] == line[2] for line in tables["table1"].lines)
    lines = {line[0]: line[1:] for line in tables["compare"].lines}
    assert lines["LS, 20 network steps"] == ["0.25 [0.40, 0.60]", "0.75 [0.40, 0.60]"]
    assert side_by_side(results, "no such metric") == []


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "a", 0.5)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not the results"):
        find_results([tmp_path])
    with pytest.raises(PatchMosaicError, match="no such folder"):
        find_results([tmp_path / "nowhere"])
