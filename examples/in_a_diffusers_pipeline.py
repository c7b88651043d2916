"""A closed-form machine as the `unet` of a diffusers pipeline: saved, loaded again, and drawing what `sample` draws.

python examples/in_a_diffusers_pipeline.py [folder]          needs pip install 'patchmosaic[diffusers]'
"""

import sys
import tempfile
from pathlib import Path

import torch
from diffusers import DDIMPipeline

import patchmosaic as pm
from patchmosaic.interop import DenoiserModel

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
pool = pm.data.load("digits", image_size=None, limit=500)
machine = pm.BoundaryBrokenDenoiser(pool, patch_size=5)

# The machine takes the place of the network; its training images are the weights.
model = DenoiserModel.from_denoiser(machine)
DDIMPipeline(unet=model, scheduler=model.ddim_scheduler()).save_pretrained(folder)
weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
print(f"a pipeline in {folder}, {weights.stat().st_size / 2**10:.0f} KiB of images in unet/")

# Whoever has patchmosaic installed uses it as any other pipeline.
pipeline = DDIMPipeline.from_pretrained(folder, local_files_only=True)
pipeline.set_progress_bar_config(disable=True)
generators = [torch.Generator().manual_seed(i) for i in range(4)]
drawn = pipeline(batch_size=4, generator=generators, num_inference_steps=20, output_type="np").images
pm.plots.save_png(folder / "drawn.png", torch.from_numpy(drawn).permute(0, 3, 1, 2) * 2 - 1, columns=4, scale=16)

x_T = torch.cat([torch.randn(1, *pool.image_shape, generator=torch.Generator().manual_seed(i)) for i in range(4)])
ours = ((pm.sample(machine, x_T, steps=20).x0 + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)
print(f"largest difference from patchmosaic.sample: {abs(drawn - ours.numpy()).max():.1e}")
