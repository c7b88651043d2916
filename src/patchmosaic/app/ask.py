"""Ask: one question to the explorer, checked, hashable, and with one spelling as the query of an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from patchmosaic.errors import PatchMosaicError
from patchmosaic.locality import check_patch_size

MOST_STEPS = 500


@dataclass(frozen=True)
class Ask:
    """What to draw.

    Attributes:
        source: the name of a subject.
        machine: "IS", "ES", "LS", "ELS", "bbELS" or "Wiener".
        seed: the number of the noise it starts from.
        label: the class to condition on, or None.
        patch_sizes: one for all steps, or one for each from the first, noisiest step on; empty for the subject's own scale.
        steps: of DDIM.
        images: use the first so many training images only; None for as many as the explorer thinks quick.
    """

    source: str
    machine: str
    seed: int = 0
    label: int | None = None
    patch_sizes: tuple[int, ...] = ()
    steps: int = 20
    images: int | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Ask:
        """The question that an address asks; what is missing or empty has its default.

        Raises:
            PatchMosaicError: no source or machine, a number that is none, or out of its range.
            PatchSizeError: a patch size that is not odd and positive.
        """
        for name in ("source", "machine"):
            if not query.get(name):
                raise PatchMosaicError(f"a question must name its {name}", got="none")
        seed = whole(query, "seed", 0)
        steps = whole(query, "steps", 1, MOST_STEPS)
        return cls(
            source=query["source"],
            machine=query["machine"],
            seed=0 if seed is None else seed,
            label=whole(query, "label", 0),
            patch_sizes=_patch_sizes(query.get("patch_sizes", "")),
            steps=20 if steps is None else steps,
            images=whole(query, "images", 1),
        )

    def query(self) -> str:
        """The question as the query of an address: names in order, nothing that is None or empty."""
        sizes = ",".join(str(size) for size in self.patch_sizes)
        fields = {**vars(self), "patch_sizes": sizes}
        return urlencode(sorted((name, value) for name, value in fields.items() if value not in (None, "")))


def whole(query: Mapping[str, str], name: str, least: int, most: int | None = None) -> int | None:
    """The whole number that a query has under `name`; None where it is missing or empty.

    Raises:
        PatchMosaicError: not a whole number, or out of its range.
    """
    text = query.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        between = f"from {least} up" if most is None else f"from {least} to {most}"
        raise PatchMosaicError(f"{name} must be a whole number {between}", got=repr(text))
    return int(text)


def _patch_sizes(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not all(word.removeprefix("-").isdecimal() for word in words):
        raise PatchMosaicError("patch sizes must be odd whole numbers", got=repr(text), hint="Such as 3, or 7 5 5 3 3.")
    return tuple(check_patch_size(int(word)) for word in words)
