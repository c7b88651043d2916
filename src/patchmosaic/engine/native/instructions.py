"""The native kernels, where they were built, and for which instruction set they run.

They are compiled for several, and the best that the processor has is chosen here. Without a compiler the package installs all
the same and plain torch serves.

The environment variable PATCHMOSAIC_NATIVE chooses another way: 0 for none, or one of `instruction_sets()`.
"""

from __future__ import annotations

import os
import warnings
from functools import cache

from patchmosaic.errors import PatchMosaicError

try:
    from patchmosaic.engine.native import _patches
except ImportError:
    _patches = None  # type: ignore[assignment]

kernel = _patches

CHOICE = "PATCHMOSAIC_NATIVE"


def instruction_sets() -> list[str]:
    """What the kernel can run on this processor, best first; empty where it was not built."""
    return [] if kernel is None else list(kernel.instruction_sets())


def instruction_set() -> str | None:
    """What the kernel will run, or None where plain torch serves.

    Raises:
        PatchMosaicError: PATCHMOSAIC_NATIVE names something that is not there.
    """
    known = instruction_sets()
    if not known and CHOICE not in os.environ:
        _say_once()
    choice = os.environ.get(CHOICE, known[0] if known else "0")
    if choice == "0":
        return None
    if choice not in known:
        raise PatchMosaicError(
            f"{CHOICE} must name an instruction set of this processor, or be 0 for plain torch",
            got=repr(choice),
            hint=f"Known here: {', '.join(known) or 'none, the kernel was not built'}.",
        )
    return choice


@cache
def _say_once() -> None:
    warnings.warn(
        "the native kernel was not built, probably for want of a C++ compiler: plain torch serves, which is slower. "
        f"{CHOICE}=0 silences this; `patchmosaic doctor` tells more.",
        RuntimeWarning,
        stacklevel=3,
    )
