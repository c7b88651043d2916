from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.app.ask import Ask
from patchmosaic.errors import PatchMosaicError, PatchSizeError

ODD = st.sampled_from(range(1, 41, 2))
FIELDS = st.fixed_dictionaries(
    {
        "source": st.text(min_size=1),
        "machine": st.sampled_from(["IS", "ELS"]),
        "seed": st.integers(0, 10**9),
        "label": st.none() | st.integers(0, 20),
        "patch_sizes": st.lists(ODD, max_size=5).map(tuple),
        "steps": st.integers(1, 500),
        "images": st.none() | st.integers(1, 10**6),
    }
)


@given(fields=FIELDS)
def test_a_question_survives_its_spelling(fields):
    ask = Ask(**fields)
    assert Ask.from_query(dict(parse_qsl(ask.query(), keep_blank_values=True))) == ask


def test_one_question_has_one_spelling():
    assert Ask("black and white", "ELS", patch_sizes=(5, 3)).query() == (
        "machine=ELS&patch_sizes=5%2C3&seed=0&source=black+and+white&steps=20"
    )


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("source", "", "must name its source"),
        ("machine", "", "must name its machine"),
        ("seed", "-1", "seed must be a whole number from 0 up"),
        ("seed", "two", "got 'two'"),
        ("seed", "1.5", "whole number"),
        ("steps", "0", "from 1 to 500"),
        ("steps", "501", "from 1 to 500"),
        ("label", "x", "label must be"),
        ("images", "0", "images must be a whole number from 1 up"),
        ("patch_sizes", "3;5", "odd whole numbers"),
        ("patch_sizes", "3,4", "Try 3 or 5"),
        ("patch_sizes", "-3", "at least 1"),
    ],
)
def test_bad_input_is_told(field, value, said):
    with pytest.raises(PatchMosaicError, match=said):
        Ask.from_query({"source": "digits", "machine": "ELS", field: value})


def test_patch_sizes_may_be_typed_with_blanks():
    assert Ask.from_query({"source": "digits", "machine": "ELS", "patch_sizes": " 7 5,3 "}).patch_sizes == (7, 5, 3)
    with pytest.raises(PatchSizeError):
        Ask.from_query({"source": "digits", "machine": "ELS", "patch_sizes": "0"})
