"""Compare any torch module with the theory: here a tiny convolutional network, trained in a few lines of plain torch.

python examples/your_own_network.py [training steps]
"""

import sys

import torch
from torch import nn

import patchmosaic as pm

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
pool = pm.data.load("digits", image_size=None)
schedule = pm.noise.LinearBetaSchedule()


class TinyNetwork(nn.Module):
    """Three convolutions that see 7x7 pixels and the log of the noise; it predicts x0."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(2, 64, 3, padding=1), nn.SiLU(), nn.Conv2d(64, 64, 3, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1))

    def forward(self, x_t, t):
        level = schedule.noise_level(t).log().to(x_t)[:, None, None, None].expand_as(x_t)
        return self.layers(torch.cat([x_t, level / 4], 1))


torch.manual_seed(0)
module = TinyNetwork()
optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
for _ in range(steps):
    x0, t = pool.images[torch.randint(len(pool), (128,))], torch.rand(128).clamp_min(1e-3)
    alpha, sigma = (scale.float()[:, None, None, None] for scale in schedule(t))
    loss = nn.functional.mse_loss(module(alpha * x0 + sigma * torch.randn_like(x0), t), x0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

network = pm.NetworkDenoiser(module, prediction="x0", schedule=schedule)
scale = pm.calibrate(network, pool, machine="bbELS", seeds=4, patch_sizes=[3, 5, 7]).scale
print("patch sizes, lowest noise first:", *scale.patch_sizes)
print(pm.compare(network, {"bbELS": pm.BoundaryBrokenDenoiser(pool, scale, schedule=schedule)}, seeds=16))
