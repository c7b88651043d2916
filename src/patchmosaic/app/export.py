"""One file to share: the page with recorded answers, for chosen machines and seeds. It works from disk, without any network.

A recording holds what a server would have answered, compressed; the page does not know the difference, except that the
facts offer no more than was recorded.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from patchmosaic.app.ask import Ask
from patchmosaic.app.document import recorded_page
from patchmosaic.app.messages import Message, line, unpacked
from patchmosaic.app.session import Session
from patchmosaic.errors import PatchMosaicError
from patchmosaic.files import write_text
from patchmosaic.progress import Progress, silent
from patchmosaic.runs import machine_kind


def export(
    session: Session,
    path: Path,
    machines: Sequence[str] = (),
    seeds: Sequence[int] = range(4),
    *,
    label: int | None = None,
    steps: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Write the explorer of the session's first subject as one HTML file.

    Args:
        machines: which to record; by default the one that the explorer begins with, and IS.
        seeds: which to record.
        label: the class to draw; by default none, or where the run's network needs one, the first.
        steps: of DDIM; by default as the explorer begins.

    Raises:
        PatchMosaicError: an unknown machine, or no seeds.
    """
    source = session.names[0]
    facts = _only(session.facts(source), "facts")
    start = facts["start"]
    names = list(dict.fromkeys(machines or [start["machine"], "IS"]))
    if not seeds:
        raise PatchMosaicError("a recording needs at least one seed", got="none")
    for name in names:
        machine_kind(name)
    if label is None and facts["needs_class"]:
        label = facts["classes"][0]["label"]
    first = Ask(source, names[0], seeds[0], label, steps=steps or start["steps"])
    answers: dict[str, list[Message]] = {}
    positions: set[int] = set()
    asks = [replace(first, machine=name, seed=seed) for name, seed in product(names, seeds)]
    for done, ask in enumerate(asks):
        progress("recording", done, len(asks))
        answers[f"trajectory?{ask.query()}"] = list(session.trajectory(ask, progress))
        if _traceable(facts, ask.machine):
            traced = list(session.provenance(ask, progress=progress))
            answers[f"provenance?{ask.query()}"] = traced
            positions |= _sources(traced)
    progress("recording", len(asks), len(asks))
    facts |= {
        "machines": [machine for machine in facts["machines"] if machine["name"] in names],
        "classes": [] if label is None else [one for one in facts["classes"] if one["label"] == label],
        "needs_class": label is not None,
        "patch_sizes": [],
        "seeds": list(seeds),
        "start": {**start, "machine": names[0], "steps": first.steps, "seed": seeds[0]},
    }
    if facts["has_results"]:
        answers[f"results?{_query(source)}"] = list(session.results(source))
    images = _only(session.images(source, None, sorted(positions)), "images")
    recording = {
        "choices": [source],
        "facts": facts,
        "answers": {key: _compressed(messages) for key, messages in answers.items()},
        "images": _compressed([{"images": images}]),
    }
    write_text(path, recorded_page(recording))
    return path


def _only(messages: Iterable[Message], kind: str) -> Any:
    """What the one message of an answer says."""
    (message,) = messages
    return message[kind]


def _traceable(facts: dict[str, Any], machine: str) -> bool:
    return any(one["name"] == machine and one["traceable"] for one in facts["machines"])


def _sources(traced: Iterable[Message]) -> set[int]:
    """The training images that pixels come from."""
    return {int(position) for message in traced for position in set(unpacked(message["provenance"]["image"]).flat)} - {-1}


def _query(source: str) -> str:
    from urllib.parse import urlencode

    return urlencode({"source": source})


def _compressed(messages: Iterable[Message]) -> str:
    # mtime: the same answers make the same file.
    return base64.b64encode(gzip.compress(b"".join(line(message) for message in messages), mtime=0)).decode("ascii")
