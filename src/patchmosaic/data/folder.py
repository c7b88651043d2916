"""A folder of pictures.

    root/cat/1.png, root/dog/7.png     labels number the class folders in sorted order
    root/1.png, root/2.png             no labels
    root/train/..., root/test/...      either of these in each split

The class names are the folders' names. Within a folder pictures are sorted by name. Hidden files and files that are not
pictures are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from patchmosaic.data import pictures
from patchmosaic.data.records import Records
from patchmosaic.data.splits import named_split, no_such_split, of_split
from patchmosaic.errors import DataError


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture in the folder or below it; stops at the first."""
    return any(True for _ in _pictures_below(folder))


def read(path: Path, split: str) -> Records:
    """The pictures of a folder, of the subfolder `split` where the folder is divided into splits.

    Raises:
        DataError: no such split, pictures both beside and inside class folders, or a class folder without pictures.
    """
    root = _of_split(path, split)
    loose = sorted(file for file in root.iterdir() if _is_picture(file))
    class_folders = _folders(root)
    if loose and class_folders:
        raise DataError(
            f"{root} has pictures both beside and inside its subfolders",
            got=f"{loose[0].name} and {class_folders[0].name}/",
            hint="Put every picture in a class folder, or none.",
        )
    by_class = [sorted(_pictures_below(folder)) for folder in class_folders]
    for folder, members in zip(class_folders, by_class, strict=True):
        if not members:
            raise DataError("a class folder without pictures", got=folder, hint="Take it away, or fill it.")
    files = loose or [file for members in by_class for file in members]
    labels = np.repeat(np.arange(len(by_class)), [len(members) for members in by_class]).astype(np.int64)

    def origin(record: int) -> str:
        return f"{files[record]} (record {record})"

    return Records(
        where=str(root),
        count=len(files),
        pixels=lambda index, progress: pictures.decode(((i, files[i]) for i in index.tolist()), len(index), origin, progress),
        origin=origin,
        labels=labels if class_folders else None,
        class_names=tuple(folder.name for folder in class_folders),
    )


def _of_split(path: Path, split: str) -> Path:
    folders = _folders(path)
    if folders and all(named_split(folder.name) == folder.name.lower() for folder in folders):
        return of_split(folders, split, path)[0]
    if split != "train":
        raise no_such_split(path, split)
    return path


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _pictures_below(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if _is_picture(file))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in pictures.SUFFIXES and not path.name.startswith(".") and path.is_file()
