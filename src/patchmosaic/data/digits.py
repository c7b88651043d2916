"""scikit-learn's bundled handwritten digits: 1,797 grey images of 8x8 in 17 levels. The set that needs no network."""

from __future__ import annotations

import numpy as np

from patchmosaic.data.records import Records
from patchmosaic.data.splits import no_such_split

LEVELS = 16  # grey values go from 0 to 16 inclusive


def read(split: str) -> Records:
    """The digits, black at -1 and white at 1. There is one split, "train".

    Raises:
        DataError: another split.
    """
    if split != "train":
        raise no_such_split("digits", split)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images[..., None] / (LEVELS / 2) - 1).astype(np.float32)  # (N, 8, 8, 1)
    return Records(
        where="scikit-learn's digits",
        count=len(images),
        pixels=lambda index, _: images[index],
        origin=lambda record: f"scikit-learn's digits, record {record}",
        labels=bunch.target.astype(np.int64),
        class_names=tuple("0123456789"),
    )
