"""The paper's toy: a model that has seen one black and one white image draws black and white mosaics.

Each pixel sees a 3x3 window of a torus, so all it can do is join the majority of its neighbours: the training set has two
images, the local machine draws as many different ones as there are seeds. The ideal machine can only copy.

    python examples/black_and_white_mosaic.py [mosaic.png]
"""

import sys

import torch

import patchmosaic as pm

side, count = 16, 16
pool = pm.ImageSet(torch.stack([torch.full((1, side, side), value) for value in (-1.0, 1.0)]))

# Pixels settle one after another as the noise falls by orders of magnitude, hence a schedule that goes far down.
schedule = pm.noise.EDMSchedule(sigma_min=1e-9, sigma_max=80.0, rho=40.0)
x_T = pm.seeds(count, pool.image_shape).double() * schedule.prior_std()

local = pm.sample(pm.EquivariantLocalDenoiser(pool, patch_size=3, schedule=schedule), x_T, steps=40).x0
ideal = pm.sample(pm.IdealDenoiser(pool, schedule=schedule), x_T, steps=40).x0

padded = torch.nn.functional.pad(local, (1, 1, 1, 1), mode="circular")
majority = torch.nn.functional.avg_pool2d(padded, 3, stride=1).sign()
print(f"pixels that are black or white: {float((local.abs() > 0.999).float().mean()):.1%}")
print(f"pixels that agree with their 3x3 majority: {float((local.sign() == majority).float().mean()):.1%}")
print(f"different drawings: local {len({tuple(i.sign().flatten().tolist()) for i in local})} of {count}, ", end="")
print(f"ideal {len({tuple(i.sign().flatten().tolist()) for i in ideal})} of {count}")

if len(sys.argv) > 1:
    pm.plots.save_png(sys.argv[1], torch.cat([local[:8], ideal[:8]]), columns=8, scale=6)
    print(f"{sys.argv[1]}: top row local, bottom row ideal, from the same seeds")
