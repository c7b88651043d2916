"""Files are whole or absent, whatever interrupts the writing."""

import json
import math
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.errors import CheckpointError
from patchmosaic.files import fingerprint, read_json, replacing, write_json, write_text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_a_new_file_appears_whole_in_a_folder_made_for_it(tmp_path):
    path = tmp_path / "deep" / "er" / "note.txt"
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent  # else the rename could cross file systems
        assert temporary.suffix == path.suffix  # writers that go by the suffix
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["note.txt"]


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path, interruption):
    path = tmp_path / "note.txt"
    path.write_text("old")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note.txt"]


def test_an_interrupted_first_write_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "note.txt"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_others_may_read_the_file(tmp_path):
    write_text(tmp_path / "note.txt", "φ")
    assert (tmp_path / "note.txt").read_bytes() == "φ".encode()
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) & 0o444 == 0o444


@given(record=json_values)
def test_json_round_trip(record, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "record.json"
    write_json(path, record)
    assert read_json(path) == record
    assert json.loads(path.read_text()) == record


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_are_refused_and_the_old_file_stays(tmp_path, value):
    path = tmp_path / "record.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"new": [value]})
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_missing_file_is_named_with_what_writes_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file.*missing\.json.*Run it first"):
        read_json(tmp_path / "missing.json", hint="Run it first.")


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00", b"{'a': 1}"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not valid JSON.*damaged\.json"):
        read_json(path)


@given(record=st.dictionaries(st.text(max_size=3), json_values, min_size=2, max_size=4))
def test_fingerprints_do_not_depend_on_the_order_of_keys(record):
    assert fingerprint(dict(reversed(record.items()))) == fingerprint(record)
    assert fingerprint(json.loads(json.dumps(record))) == fingerprint(record)


def test_fingerprints_tell_descriptions_apart_and_stay_the_same():
    records = [{}, [], None, {"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, {"a": [1, 2]}, {"a": [2, 1]}, {"a": 1.5}]
    assert len({fingerprint(record) for record in records}) == len(records)
    # SHA-256 of {"a":1}: a change of this number would orphan every stored result.
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2d"
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint({"a": math.nan})
