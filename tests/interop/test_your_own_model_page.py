"""The page `docs/your-own-model.md`: its code runs, from top to bottom, in a folder with a small diffusers model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from diffusers_cases import diffusers, saved, tiny_unet

from patchmosaic.interop.remarks import steady_timesteps

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "your-own-model.md").read_text()


def test_the_code_of_the_page_runs(tmp_path):
    saved(tmp_path / "ddpm-digits", tiny_unet(), diffusers.DDPMScheduler())
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^LS +-?0\.\d", result.stdout, re.MULTILINE)
    assert (tmp_path / "drawn.png").exists()
    assert "SchedulerWarning: DDPMScheduler draws other images" in result.stderr


def test_the_numbers_of_the_page():
    alpha = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.sqrt()
    linear = diffusers.DDIMScheduler().alphas_cumprod.sqrt()
    assert f"{float(alpha[-1]):.0e}" == "5e-05"
    assert float(alpha[949] / alpha[-1]) == pytest.approx(1600, rel=0.02)
    assert float(linear[949] / linear[-1]) == pytest.approx(1.6, rel=0.03)
    assert f"{float(linear[-1]):.3f}" == "0.006"
    assert steady_timesteps(diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2")) == 994
