"""Every noise schedule: those with defaults, and the table of DDPM's thousand levels."""

import numpy as np

from patchmosaic.noise import SCHEDULES, TabulatedSchedule

DDPM = TabulatedSchedule(tuple(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)).tolist()))
EVERY = [DDPM if kind is TabulatedSchedule else kind() for kind in SCHEDULES.values()]
