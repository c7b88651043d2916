"""Schedules against the papers' formulas, recomputed with numpy, and against what every schedule must obey."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchmosaic.errors import NoiseLevelError, PatchMosaicError
from patchmosaic.noise import (
    SCHEDULES,
    CosineSchedule,
    EDMSchedule,
    FlowMatchingSchedule,
    LinearBetaSchedule,
    OffsetCosineSchedule,
    TabulatedSchedule,
    schedule_from_json,
)

DDPM = TabulatedSchedule(tuple(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))))
VARIANCE_PRESERVING = [CosineSchedule(), OffsetCosineSchedule(), LinearBetaSchedule(), DDPM]
EVERY = [*VARIANCE_PRESERVING, EDMSchedule(), FlowMatchingSchedule()]
GRID = torch.cat([torch.tensor([1e-9, 1e-6, 1e-4], dtype=torch.float64), torch.linspace(0.001, 1, 1000, dtype=torch.float64)])

every_schedule = pytest.mark.parametrize("schedule", EVERY, ids=lambda schedule: type(schedule).__name__)


def test_these_are_all_the_schedules():
    assert {type(schedule).__name__ for schedule in EVERY} == set(SCHEDULES)


@pytest.mark.parametrize("schedule", VARIANCE_PRESERVING, ids=lambda schedule: type(schedule).__name__)
def test_variance_is_preserved(schedule):
    alpha, sigma = schedule(torch.cat([torch.zeros(1, dtype=torch.float64), GRID]))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha), rtol=0, atol=1e-12)


@every_schedule
def test_noise_level_grows_and_snr_falls(schedule):
    assert bool((schedule.noise_level(GRID).diff() > 0).all())
    assert bool((schedule.snr(GRID).diff() < 0).all())
    torch.testing.assert_close(schedule.snr(GRID).rsqrt(), schedule.noise_level(GRID), rtol=1e-12, atol=0)


@every_schedule
def test_starts_clean_and_ends_in_noise(schedule):
    alpha, sigma = (scale.item() for scale in schedule(0.0))
    assert alpha == pytest.approx(1, abs=1e-15)
    assert sigma == pytest.approx(0.002 if isinstance(schedule, EDMSchedule) else 0, abs=1e-15)
    assert schedule.snr(1.0).item() < 2e-4


def test_cosine_has_the_papers_values():
    schedule = CosineSchedule()
    alpha, _ = schedule(1.0)
    assert alpha.item() == pytest.approx(0.01247, abs=5e-6)
    for t, level in [(1.0, 80.2), (0.95, 11.03), (0.05, 0.078)]:
        assert schedule.noise_level(t).item() == pytest.approx(level, rel=2e-3)
    t = np.linspace(0, 1, 11)
    _, sigma = schedule(torch.from_numpy(t))
    np.testing.assert_allclose(sigma.numpy() ** 2, np.sin(np.pi * t / 2.016) ** 2, rtol=1e-12, atol=1e-30)


def test_offset_cosine_is_the_product_of_diffusers_capped_betas():
    steps = 1000

    def f(t):
        return np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2

    i = np.arange(steps)
    betas = np.minimum(1 - f((i + 1) / steps) / f(i / steps), 0.999)
    alpha_bar = np.cumprod(1 - betas)
    alpha, _ = OffsetCosineSchedule()(torch.from_numpy((i + 1) / steps))
    np.testing.assert_allclose(alpha.numpy()[:-1] ** 2, alpha_bar[:-1], rtol=1e-9)
    assert alpha[-1].item() == 0  # where the cap would leave 2.4e-9


def test_linear_beta_is_the_limit_of_ddpm():
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    alpha, _ = LinearBetaSchedule()(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    # A product of 1 - beta is an integral up to half a step and the square of beta: both of the order of the largest beta.
    np.testing.assert_allclose(alpha.numpy() ** 2, alpha_bar, atol=0.01 * 0.4)
    np.testing.assert_allclose(np.log(alpha.numpy()[99:] ** 2), np.log(alpha_bar[99:]), rtol=0.02)


def test_a_table_is_met_at_its_nodes_and_starts_from_clean_data():
    table = (0.9, 0.5, 0.2, 0.0)
    alpha, sigma = TabulatedSchedule(table)(torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64))
    np.testing.assert_allclose(alpha.numpy() ** 2, [1, *table], atol=1e-15)
    np.testing.assert_allclose(sigma.numpy() ** 2, [0, 0.1, 0.5, 0.8, 1], atol=1e-15)
    assert alpha[-1].item() == 0  # and not the cosine of a rounded pi/2


def test_a_table_of_cosines_is_the_cosine_schedule_everywhere():
    """Whose angle is linear in t: the interpolation is then exact, though the table has four entries."""
    cosine = CosineSchedule()
    table = TabulatedSchedule(tuple(np.cos(np.pi * np.array([0.25, 0.5, 0.75, 1]) / 2.016) ** 2))
    for expected, got in zip(cosine(GRID), table(GRID), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)
    levels = cosine.snr(GRID)
    torch.testing.assert_close(table.time_of_snr(levels), GRID, rtol=0, atol=1e-12)


def test_a_table_is_between_its_nodes_what_a_finer_one_says():
    """Of a smooth schedule: quadratic in the step of the table, which a thousand entries make small."""
    smooth = LinearBetaSchedule()
    errors = []
    for steps in (100, 200):
        alpha, _ = smooth(torch.arange(1, steps + 1, dtype=torch.float64) / steps)
        table = TabulatedSchedule(tuple((alpha**2).tolist()))
        middles = (torch.arange(steps // 2, steps, dtype=torch.float64) + 0.5) / steps
        errors.append(float((table.noise_level(middles) / smooth.noise_level(middles) - 1).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / 25 < 5e-5  # of 1,000 entries


@pytest.mark.parametrize("table", [(), (1.0, 0.5), (0.5, 0.5), (0.5, 0.6), (0.5, -0.1), (0.5, math.nan), (math.nan,)])
def test_tables_that_do_not_decrease_are_refused(table):
    with pytest.raises(NoiseLevelError, match="decrease strictly"):
        TabulatedSchedule(table)


def test_edm_is_the_grid_of_the_paper():
    n, rho, low, high = 18, 7, 0.002, 80.0
    i = np.arange(n)
    grid = (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho  # Karras et al. eq. 5
    alpha, sigma = EDMSchedule()(torch.from_numpy(1 - i / (n - 1)))
    np.testing.assert_allclose(sigma.numpy(), grid, rtol=1e-11)
    assert bool((alpha == 1).all())
    assert sigma[0].item() == pytest.approx(80, rel=1e-12)
    assert sigma[-1].item() == pytest.approx(0.002, rel=1e-12)


def test_flow_matching_is_a_straight_line():
    alpha, sigma = FlowMatchingSchedule()(GRID)
    torch.testing.assert_close(alpha, 1 - GRID, rtol=0, atol=0)
    torch.testing.assert_close(sigma, GRID, rtol=0, atol=0)


@every_schedule
def test_prior_is_as_wide_as_noisy_data_of_unit_variance(schedule):
    assert schedule.prior_std() == pytest.approx(math.sqrt(1 + 80**2) if isinstance(schedule, EDMSchedule) else 1, rel=1e-12)


@every_schedule
@settings(max_examples=40, deadline=None)
@given(t=st.one_of(st.floats(0, 1), st.floats(-9, 0).map(lambda power: 10.0**power)))
def test_time_of_snr_inverts_snr(schedule, t):
    assert schedule.time_of_snr(schedule.snr(t)).item() == pytest.approx(t, rel=1e-9, abs=1e-13)


@every_schedule
def test_python_numbers_keep_their_double_precision(schedule):
    for t in (0.1, 0.05, 1 - 1e-12):
        as_number, as_tensor = schedule(t), schedule(torch.tensor(t, dtype=torch.float64))
        assert [scale.item() for scale in as_number] == [scale.item() for scale in as_tensor]
    assert schedule.time_of_snr(0.1).item() == schedule.time_of_snr(torch.tensor(0.1, dtype=torch.float64)).item()


@every_schedule
def test_time_of_snr_at_the_ends(schedule):
    times = torch.tensor([0.0, 1e-6, 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(schedule.time_of_snr(schedule.snr(times)), times, rtol=1e-9, atol=1e-13)
    assert schedule.time_of_snr(math.inf).item() == pytest.approx(0, abs=1e-13)
    assert schedule.time_of_snr(0.0).item() == 1


@every_schedule
def test_ratios_beyond_the_ends_are_clamped(schedule):
    assert schedule.time_of_snr(schedule.snr(1.0) / 4).item() == pytest.approx(1, abs=1e-13)
    if isinstance(schedule, EDMSchedule):
        assert schedule.time_of_snr(1e9).item() == 0


@every_schedule
def test_scales_are_float64_and_shaped_like_the_time(schedule):
    for scale in schedule(torch.full((2, 3), 0.5)):
        assert scale.dtype == torch.float64
        assert scale.shape == (2, 3)
    assert all(scale.shape == () for scale in schedule(0.5))


@every_schedule
@pytest.mark.parametrize("t", [-1e-9, 1.0000001, math.nan, math.inf])
def test_times_outside_the_unit_interval_are_refused(schedule, t):
    with pytest.raises(NoiseLevelError, match=r"\[0, 1\]"):
        schedule(t)
    with pytest.raises(NoiseLevelError):
        schedule(torch.tensor([0.5, t]))


@every_schedule
@pytest.mark.parametrize("ratio", [-1.0, math.nan])
def test_ratios_below_zero_are_refused(schedule, ratio):
    with pytest.raises(NoiseLevelError, match="at least 0"):
        schedule.time_of_snr(ratio)


@pytest.mark.parametrize(
    "schedule",
    [
        *EVERY,
        CosineSchedule(2.1),
        TabulatedSchedule((0.5, 0.0)),
        OffsetCosineSchedule(0.02),
        LinearBetaSchedule(0.2, 15.0),
        EDMSchedule(0.01, 50.0, 3.0),
    ],
)
def test_json_round_trip(schedule):
    record = json.loads(json.dumps(schedule.to_json()))
    assert record == schedule.to_json()
    assert schedule_from_json(record) == schedule
    assert hash(schedule_from_json(record)) == hash(schedule)


@pytest.mark.parametrize("record", [{}, {"schedule": "Sine"}, {"schedule": "CosineSchedule", "offset": 0.1}])
def test_other_json_is_refused(record):
    with pytest.raises(PatchMosaicError, match="CosineSchedule"):
        schedule_from_json(record)


@every_schedule
def test_schedules_are_frozen(schedule):
    for name in ("period", "sigma_max"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(schedule, name, 1.0)
