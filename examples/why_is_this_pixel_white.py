"""Why is this pixel white? Every pixel that a local machine draws knows which training patches it comes from.

python examples/why_is_this_pixel_white.py [folder for pictures]
"""

import sys
from pathlib import Path

import patchmosaic as pm
from patchmosaic.plots.mosaic import MosaicDisplay
from patchmosaic.plots.pixel_sources import PixelSourcesDisplay
from patchmosaic.provenance import trace
from patchmosaic.provenance.explanation import answer, question, telling_pixel

pool = pm.data.load("digits", image_size=None)
machine = pm.BoundaryBrokenDenoiser(pool, patch_size=5)

# Draw a digit, then look at the last step once more: what did each pixel see, and what did it make of it?
trajectory = pm.sample(machine, pm.seeds([3], pool.image_shape), steps=20)
x_t, t = trajectory.states[-2], float(trajectory.times[-1])
provenance = trace(machine, x_t, t)
assert provenance.x0_hat.allclose(trajectory.x0, atol=1e-5), "tracing changes nothing"

pixel = telling_pixel(provenance)
print(question(provenance, pixel), *answer(provenance, pixel), sep="\n  ")

# The same by hand: the value is the mean of the sources, by their weights.
row, column = pixel
place = (0, row, column)
images, rows, columns = provenance.image[place], provenance.row[place], provenance.column[place]
mean = float((provenance.weight[place] * pool.images[images, 0, rows, columns]).sum())
print(f"drawn {float(provenance.x0_hat[0, 0, row, column]):.3f}, mean of its {len(images)} likeliest sources {mean:.3f}")

mosaic = MosaicDisplay.from_provenance(provenance, title="a digit")
print(mosaic.heading)

if len(sys.argv) > 1:
    mosaic.save(Path(sys.argv[1]) / "mosaic.png")
    PixelSourcesDisplay(provenance, pixel).save(Path(sys.argv[1]) / "pixel.png")
    print(f"saved mosaic.png and pixel.png in {sys.argv[1]}")
