"""Hugging Face parquet: shards, row groups, metadata, and damage in each."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from patchmosaic.data import load
from patchmosaic.errors import DataError, LabelError, MissingExtraError

NAMES = ("zero", "one", "two")


@pytest.fixture
def encoded(grey, encode):
    """The seven grey images as PNG."""
    return [encode(image) for image in grey]


@pytest.fixture
def folder(tmp_path, encoded, write_parquet):
    """Two training shards of row groups of two, and a test file."""
    write_parquet(tmp_path / "train-00000-of-00002.parquet", encoded[:5], [0, 1, 2, 0, 1], NAMES, row_group_size=2)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", encoded[5:], [2, 0], NAMES, row_group_size=2)
    write_parquet(tmp_path / "test-00000-of-00001.parquet", encoded[:1], [2], NAMES)
    return tmp_path


def starts(pool):
    """Which of the grey images these are: image i starts with the value 16 i."""
    return [int(value) // 16 for value in ((pool.images[:, 0, 0, 0] + 1) * 127.5).round()]


def test_shards_follow_each_other(folder):
    pool = load(folder, None)
    assert starts(pool) == [0, 1, 2, 3, 4, 5, 6]
    assert pool.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert pool.class_names == NAMES
    assert load(folder, None, split="test").labels.tolist() == [2]


def test_classes_and_limit_across_row_groups(folder):
    assert starts(load(folder, None, classes=["zero"])) == [0, 3, 6]
    assert starts(load(folder, None, classes=[2, 0], limit=4)) == [0, 2, 3, 5]


def test_only_what_is_asked_for_is_decoded(tmp_path, encoded, write_parquet):
    path = write_parquet(tmp_path / "a.parquet", [*encoded[:3], b"no picture"], [0, 0, 0, 1], NAMES)
    told = []
    pool = load(path, None, limit=3, progress=lambda *args: told.append(args))
    assert starts(pool) == [0, 1, 2]
    assert told == [("decoding pictures", 3, 3)]
    assert len(load(path, None, classes="zero")) == 3


def test_columns_by_name_without_metadata(tmp_path, encoded, write_parquet):
    pool = load(write_parquet(tmp_path / "a.parquet", encoded, image="img"), None)
    assert starts(pool) == [0, 1, 2, 3, 4, 5, 6]
    assert pool.labels is None


def test_plain_binary_column(tmp_path, encoded):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": encoded, "labels": [1] * 7}), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet", None).labels.tolist() == [1] * 7


def test_file_known_by_its_first_bytes(tmp_path, encoded, write_parquet):
    assert len(load(write_parquet(tmp_path / "no_suffix", encoded), None)) == 7


def test_undecodable_names_file_and_record(folder, encoded, write_parquet):
    write_parquet(folder / "train-00001-of-00002.parquet", [encoded[5], encoded[6][:-30]], [2, 0], NAMES)
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet, record 1: cannot be decoded as a picture"):
        load(folder)


def test_other_size_names_file_and_record(folder, encoded, encode, write_parquet):
    small = encode(np.zeros((2, 2), np.uint8))
    write_parquet(folder / "train-00001-of-00002.parquet", [encoded[5], small], [2, 0], NAMES)
    with pytest.raises(DataError, match=r"00001-of-00002\.parquet, record 1: a picture of another size .* got 2x2"):
        load(folder)


def test_empty_cell(folder, encoded, write_parquet):
    write_parquet(folder / "train-00001-of-00002.parquet", [encoded[5], None], [2, 0], NAMES)
    with pytest.raises(DataError, match=r"00001-of-00002\.parquet, record 1: the row holds no encoded picture"):
        load(folder)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([2, 3], "record 1: labels must be from 0 to 2, got 3"),
        ([-1, 2], "record 0: labels must be from 0 to 2, got -1"),
        ([0, None], "record 1: labels must be whole numbers, got None"),
        (["a", "b"], "record 0: labels must be whole numbers, got 'a'"),
        ([0.5, 1.0], "record 0: labels must be whole numbers, got 0.5"),
    ],
)
def test_wrong_labels(folder, encoded, write_parquet, labels, message):
    write_parquet(folder / "train-00001-of-00002.parquet", encoded[5:], labels, NAMES)
    with pytest.raises(LabelError, match=rf"train-00001-of-00002\.parquet, {message}"):
        load(folder)


def test_missing_shard_is_named(folder):
    (folder / "train-00000-of-00002.parquet").rename(folder / "train-00000-of-00003.parquet")
    (folder / "train-00001-of-00002.parquet").rename(folder / "train-00001-of-00003.parquet")
    with pytest.raises(DataError, match=r"lacks train-00002-of-00003\.parquet"):
        load(folder)


def test_the_only_shard_left_is_not_the_whole(folder):
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"lacks train-00001-of-00002\.parquet"):
        load(folder)
    assert len(load(folder / "train-00000-of-00002.parquet", None)) == 5  # by its own path it is what was asked for


def test_missing_split(folder):
    with pytest.raises(DataError, match=r"no such split, got 'validation'. There is: test, train"):
        load(folder, split="validation")


@pytest.mark.parametrize("keep", [0, 8, 300])
def test_truncated_file(folder, keep):
    path = folder / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet: cannot be read as parquet"):
        load(folder)


def test_damaged_page_names_its_first_record(folder):
    pq = pytest.importorskip("pyarrow.parquet")
    path = folder / "train-00000-of-00002.parquet"
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)  # records 2 and 3
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"00000-of-00002\.parquet: cannot read 'image' from record 2 on"):
        load(folder)


def test_no_rows(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    schema = pa.schema({"image": pa.struct({"bytes": pa.binary()}), "label": pa.int64()})
    pq.write_table(schema.empty_table(), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"holds no images, got .*a\.parquet"):
        load(tmp_path / "a.parquet")


def test_no_image_column(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet has no column of images, got text"):
        load(tmp_path / "a.parquet")


def test_without_pyarrow(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'patchmosaic\[parquet\]'"):
        load(folder)
