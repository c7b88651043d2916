"""Tallies of limbs: shares against counting by hand, intervals against a bootstrap that draws."""

import numpy as np
import pytest

from patchmosaic.analysis.tally import VERDICTS, LimbTally
from patchmosaic.errors import DataError

COUNTS = (5, 5, 4, 6, -1, 5, 7, 5, 5, 0)


def test_shares_are_what_is_counted():
    tally = LimbTally(COUNTS, 5)
    shares = {verdict: tally.share(verdict).value for verdict in VERDICTS}
    assert shares == pytest.approx({"too few": 0.2, "right": 0.5, "too many": 0.2, "no figure": 0.1})
    assert sum(shares.values()) == pytest.approx(1)
    assert tally.wrong.value == pytest.approx(0.5)
    assert tally.to_json()["counts"] == list(COUNTS)


def test_the_interval_is_that_of_a_bootstrap():
    tally = LimbTally(tuple([5] * 45 + [6] * 15), 5)
    rng = np.random.default_rng(0)
    wrong = np.array(tally.counts) != 5
    shares = rng.choice(wrong, (20_000, 60)).mean(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    assert tally.wrong.low == pytest.approx(low, abs=1 / 60)
    assert tally.wrong.high == pytest.approx(high, abs=1 / 60)
    assert tally.wrong.value == 0.25


def test_where_all_are_alike_there_is_no_spread():
    right = LimbTally((2, 2, 2), 2)
    assert (right.wrong.low, right.wrong.high) == (0, 0)
    assert (right.share("right").low, right.share("right").high) == (1, 1)
    with pytest.raises(DataError, match="at least one"):
        LimbTally((), 2)
