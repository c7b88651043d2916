"""Writers of small data files, each from its format's definition and not from the reader, and the real data where it is."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: PATCHMOSAIC_DATA, else shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("PATCHMOSAIC_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("real data not found: set PATCHMOSAIC_DATA")
    return folder


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that PATCHMOSAIC_DATA points to."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("PATCHMOSAIC_DATA", str(root))
    return root


@pytest.fixture(scope="session")
def grey() -> np.ndarray:
    """Seven 4x4 grey images in which every pixel of the set has its own value."""
    return np.arange(7 * 16, dtype=np.uint8).reshape(7, 4, 4)


@pytest.fixture(scope="session")
def write_idx() -> Callable[..., Path]:
    """Write an IDX file; `path` ending in .gz is gzipped. `dtype_code`, `dims` and `tail` make wrong ones."""

    def write(
        path: Path,
        values: np.ndarray | Sequence[int],
        dtype_code: int = 8,
        dims: Sequence[int] | None = None,
        tail: bytes = b"",
    ) -> Path:
        array = np.asarray(values, np.uint8)
        shape = array.shape if dims is None else dims
        content = bytes([0, 0, dtype_code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes() + tail
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    return write


@pytest.fixture(scope="session")
def write_cifar() -> Callable[..., Path]:
    """Write a CIFAR-10 batch in which record i has `labels[i]`, red = i, green = 100 + i, blue = the column."""

    def write(path: Path, labels: Sequence[int]) -> Path:
        planes = (bytes([i]) * 1024 + bytes([100 + i]) * 1024 + bytes(range(32)) * 32 for i in range(len(labels)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(bytes([label]) + plane for label, plane in zip(labels, planes, strict=True)))
        return path

    return write


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Encode an array, or a pillow image, as a picture file's bytes."""

    def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encoded


@pytest.fixture(scope="session")
def write_parquet() -> Callable[..., Path]:
    """Write Hugging Face parquet from encoded pictures, labels and class names."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    def write(
        path: Path,
        pictures: Sequence[bytes | None],
        labels: Sequence[object] | None = None,
        class_names: Sequence[str] = (),
        image: str = "image",
        **options: object,
    ) -> Path:
        columns = {image: pa.array([None if p is None else {"bytes": p, "path": "x.png"} for p in pictures])}
        features: dict[str, object] = {image: {"_type": "Image"}}
        if labels is not None:
            columns["label"] = pa.array(labels)
            features["label"] = {"_type": "ClassLabel", "names": list(class_names)}
        table = pa.table(columns)
        if class_names:
            about = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": about})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, **options)
        return path

    return write
