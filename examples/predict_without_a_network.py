"""What would a convolutional diffusion model trained on these images draw? No training: the closed form alone.

python examples/predict_without_a_network.py [drawings.png]
"""

import sys

import patchmosaic as pm

pool = pm.data.load("digits", image_size=None)

# Pixels see less as the noise falls; typical of small convolutional networks (calibrate your own for exact sizes).
scale = pm.LocalityScale(noise_levels=(0.1, 0.5, 2.0, 8.0), patch_sizes=(3, 5, 7, 9))
machine = pm.BoundaryBrokenDenoiser(pool, patch_size=scale)

trajectory = pm.sample(machine, pm.seeds(16, pool.image_shape, seed=0), steps=20)
drawn = trajectory.x0

distances = (drawn[:, None] - pool.images).square().mean((2, 3, 4)).sqrt().amin(1)
print(f"{len(drawn)} drawings; root mean square distance to the nearest training image, median: {distances.median():.3f}")

if len(sys.argv) > 1:
    pm.plots.save_png(sys.argv[1], drawn, columns=8, scale=8)
    print(f"saved {sys.argv[1]}")
