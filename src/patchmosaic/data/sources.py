"""From a name or path to the reader that understands it.

A name is looked up as: `hf://owner/name` on the hub; `digits`, which is bundled; `figures:hands` and other kinds, which are
drawn; a subfolder of that name in the folder that the environment variable PATCHMOSAIC_DATA gives; a file or folder of that
name here.
Anything with a slash is a path.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from patchmosaic.data import cifar, digits, figures, folder, hub, idx, npy, npz, parquet, pictures
from patchmosaic.data.records import Records
from patchmosaic.errors import DataError

VARIABLE = "PATCHMOSAIC_DATA"
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": cifar.CLASS_NAMES,
}
# Where common downloads put the files of a set: the hub, torchvision, and CIFAR-10's own archive.
INSIDE = (".", "data", "raw", "cifar-10-batches-bin")

Reader = Callable[[Path, str], Records]


def found() -> dict[str, Path]:
    """What `load` finds by name in the folder PATCHMOSAIC_DATA, name -> folder. Without `digits`, which is always there."""
    root = _root()
    if root is None or not root.is_dir():
        return {}
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and _is_readable(path)}


def open_records(name_or_path: str | os.PathLike[str], split: str) -> Records:
    """The records of a data set, checked but not decoded.

    Raises:
        DataError: there is no such data set, or its format is not known.
    """
    if isinstance(name_or_path, str) and name_or_path.startswith(hub.PREFIX):
        return replace(hub.read(name_or_path, split), name=name_or_path.removeprefix(hub.PREFIX))
    if name_or_path == "digits":
        return replace(digits.read(split), name="digits")
    if isinstance(name_or_path, str) and name_or_path.startswith(figures.PREFIX):
        return replace(figures.read(name_or_path, split), name=name_or_path)
    path = _path_of(name_or_path)
    reader, place = sniff(path)
    records = reader(place, split)
    name = path.resolve().name
    return replace(
        records,
        name=name if path.is_file() or split == "train" else f"{name} {split}",
        class_names=records.class_names or CLASS_NAMES.get(name, ()),
    )


def sniff(path: Path) -> tuple[Reader, Path]:
    """The reader for a file or folder, and the place within the folder where the data lie.

    Raises:
        DataError: no reader knows the format.
    """
    if path.is_dir():
        for place in (path / name for name in INSIDE if (path / name).is_dir()):
            if any(place.glob("*.parquet")):
                return parquet.read, place
            if idx.images_in(place):
                return idx.read, place
            if cifar.batches_in(place):
                return cifar.read, place
        if cifar.is_pickled(path):
            raise cifar.refused(path)
        if folder.holds_pictures(path):
            return folder.read, path
        raise DataError("a folder without a known format of images", got=path, hint=KNOWN_FORMATS)

    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix == ".parquet" or start == b"PAR1":
        return parquet.read, path
    if path.suffix == ".npz":
        return npz.read, path
    if path.suffix == ".npy":
        return npy.read, path
    if path.suffix == ".bin":
        return cifar.read, path
    if cifar.is_pickled(path):
        raise cifar.refused(path)
    if path.name.endswith((".tar", ".tar.gz", ".tgz", ".zip")):
        raise DataError("an archive that must be unpacked first", got=path)
    if "idx" in path.name or path.suffix == ".gz" or start[:2] == b"\0\0":
        return idx.read, path
    if path.suffix.lower() in pictures.SUFFIXES:
        raise DataError("one picture is not a data set", got=path, hint="Give the folder it lies in.")
    raise DataError("a file of no known format of images", got=path, hint=KNOWN_FORMATS)


KNOWN_FORMATS = (
    "Known: IDX files, CIFAR-10 binary batches, Hugging Face parquet, .npz archives, .npy files, folders of pictures "
    f"({' '.join(sorted(pictures.SUFFIXES))})."
)


def _root() -> Path | None:
    value = os.environ.get(VARIABLE, "")
    return Path(value).expanduser() if value else None


def _is_readable(path: Path) -> bool:
    try:
        sniff(path)
    except (DataError, OSError):
        return False
    return True


def _path_of(name_or_path: str | os.PathLike[str]) -> Path:
    path, root = Path(name_or_path).expanduser(), _root()
    is_name = isinstance(name_or_path, str) and len(path.parts) == 1 and os.sep not in name_or_path
    if is_name and root is not None and (root / path).is_dir():
        return root / path
    if path.exists():
        return path
    if not is_name:
        raise DataError("no such file or folder", got=path)
    raise DataError("no data set of this name", got=repr(name_or_path), hint=_what_there_is(root))


def _what_there_is(root: Path | None) -> str:
    drawn = ", ".join(figures.PREFIX + kind for kind in figures.KINDS)
    named = f"By name in the folder {VARIABLE}: {', '.join(CLASS_NAMES)}, or any other subfolder"
    here = f"Built in: digits. Drawn: {drawn}. {named}"
    if root is None:
        return f"{here}; {VARIABLE} is not set. Or give a path, or hf://owner/name."
    there = ", ".join(found()) or "no data set" if root.is_dir() else "but there is no such folder"
    return f"{here}; {VARIABLE} is {root}: {there}. Or give a path, or hf://owner/name."
