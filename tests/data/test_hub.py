"""The hub reader against a stand-in for `datasets`: no test touches the network."""

from __future__ import annotations

import sys
import types

import pytest

from patchmosaic.data import load
from patchmosaic.errors import DataError, LabelError, MissingExtraError


class Table:
    """The few methods of `datasets.Dataset` that the reader uses."""

    def __init__(self, rows, types_):
        self.rows, self.types = rows, types_
        self.column_names = list(types_)
        self.features = types.SimpleNamespace(to_dict=lambda: self.types)

    def __len__(self):
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __getitem__(self, name):
        return [row[name] for row in self.rows]

    def cast_column(self, name, feature):
        assert feature == ("Image", False), "pictures must arrive encoded"
        return self

    def select_columns(self, names):
        return Table([{name: row[name] for name in names} for row in self.rows], {name: {} for name in names})

    def select(self, index):
        return Table([self.rows[i] for i in index], self.types)


@pytest.fixture
def hub(monkeypatch, grey, encode):
    """A module `datasets` whose load_dataset notes its calls and returns `table`, or raises `error`."""
    rows = [{"img": {"bytes": encode(image), "path": None}, "label": i % 2} for i, image in enumerate(grey)]
    features = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["even", "odd"]}}
    module = types.SimpleNamespace(calls=[], error=None, bars=True, table=Table(rows, features))

    def load_dataset(path, name=None, *, split, revision=None):
        module.calls.append((path, name, split, revision, module.bars))
        if module.error:
            raise module.error
        return module.table

    module.load_dataset = load_dataset
    module.Image = lambda decode: ("Image", decode)
    module.are_progress_bars_disabled = lambda: not module.bars
    module.disable_progress_bars = lambda: setattr(module, "bars", False)
    module.enable_progress_bars = lambda: setattr(module, "bars", True)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def test_images_labels_and_names(hub):
    pool = load("hf://owner/name", None, classes="odd", limit=2, split="test")
    assert pool.labels.tolist() == [1, 1]
    assert [round(v) for v in ((pool.images[:, 0, 0, 0] + 1) * 127.5).tolist()] == [16, 48]
    assert pool.class_names == ("even", "odd")
    assert hub.calls == [("owner/name", None, "test", None, False)]  # asked quietly,
    assert hub.bars  # and the bars are as they were


def test_revision_and_configuration(hub):
    load("hf://owner/name@v1.2:small", None)
    assert hub.calls[0][:4] == ("owner/name", "small", "train", "v1.2")


def test_offline(hub):
    hub.error = ConnectionError("Couldn't reach the Hub")
    with pytest.raises(DataError, match=r"hf://owner/name is not in the cache, and fetching it needs the network"):
        load("hf://owner/name")
    assert hub.bars


@pytest.mark.parametrize("error", [FileNotFoundError("no such set"), ValueError("Unknown split")])
def test_what_the_hub_does_not_have(hub, error):
    hub.error = error
    with pytest.raises(DataError, match=rf"hf://owner/name: cannot load the split 'train' \({error}\)"):
        load("hf://owner/name")


def test_damaged_picture_names_the_record(hub):
    hub.table.rows[2]["img"]["bytes"] = b"no picture"
    with pytest.raises(DataError, match=r"hf://owner/name \(train\), record 2: cannot be decoded"):
        load("hf://owner/name")


def test_pictures_in_the_cache(hub, tmp_path):
    """A set uploaded as a folder of pictures has files in place of bytes."""
    (tmp_path / "2.png").write_bytes(hub.table.rows[2]["img"]["bytes"])
    hub.table.rows[2]["img"] = {"bytes": None, "path": str(tmp_path / "2.png")}
    assert load("hf://owner/name", None).images[2, 0, 0, 0].item() == pytest.approx(32 / 127.5 - 1)
    hub.table.rows[3]["img"] = {"bytes": None, "path": None}
    with pytest.raises(DataError, match=r"record 3: the row holds no encoded picture"):
        load("hf://owner/name")


def test_missing_label_names_the_record(hub):
    hub.table.rows[4]["label"] = None
    with pytest.raises(LabelError, match=r"hf://owner/name \(train\), record 4: labels must be whole numbers, got None"):
        load("hf://owner/name")


@pytest.mark.parametrize("address", ["hf://", "hf://a/b/c", "hf://owner/na me"])
def test_not_an_address(hub, address):
    with pytest.raises(DataError, match="not the address of a hub data set"):
        load(address)
    assert not hub.calls


def test_without_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'patchmosaic\[hub\]'"):
        load("hf://owner/name")
