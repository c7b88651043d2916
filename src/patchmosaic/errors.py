"""Errors a user can act on: each says what was wrong, what was got and what to try.

>>> raise PatchSizeError("patch_size must be odd and at least 1", got=4, hint="Try 3 or 5.")
Traceback (most recent call last):
    ...
patchmosaic.errors.PatchSizeError: patch_size must be odd and at least 1, got 4. Try 3 or 5.
"""

from __future__ import annotations


class PatchMosaicError(Exception):
    """Base of every error that PatchMosaic raises for bad input. `got` is shown with `str`."""

    def __init__(self, what: str, *, got: object = None, hint: str = "") -> None:
        self.what, self.got, self.hint = what, got, hint
        message = what if got is None else f"{what}, got {got}"
        super().__init__(f"{message.rstrip('.')}. {hint}".strip())


class ShapeError(PatchMosaicError):
    """A tensor has the wrong number of dimensions or the wrong size."""


class ValueRangeError(PatchMosaicError):
    """Values are not finite, or outside the range they must lie in."""


class NoiseLevelError(PatchMosaicError):
    """A time or noise level at which the asked quantity is not defined."""


class PatchSizeError(PatchMosaicError):
    """A patch size that is even, negative, or leaves no candidate patch."""


class LabelError(PatchMosaicError):
    """Class labels that are missing, of the wrong length, or of no image in the pool."""


class DataError(PatchMosaicError):
    """A data set that is missing, truncated, mislabelled or inconsistent. Names the file and the record."""


class CheckpointError(PatchMosaicError):
    """A file written by an earlier step is missing, damaged, or made for something else."""


class MemoryBudgetError(PatchMosaicError):
    """The smallest piece of work does not fit the byte budget."""


class MissingExtraError(PatchMosaicError):
    """An optional dependency is not installed. The hint is the install line."""
