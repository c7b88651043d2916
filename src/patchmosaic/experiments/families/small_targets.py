"""The families on targets that can be seen: two Gaussians on the line, a ring in the plane and its polygons.

On the line the law of what is drawn is known for every denoiser; in the plane for some. A polynomial of degree d knows its
target by moments of order up to 2d only, of which a regular polygon of m corners has those of its circle up to order m - 1: one
of 2d + 1 corners looks like the ring to it, and by symmetry one of d + 2 already does. So

    samples for the polygon = samples for the ring, seed by seed, if m = d + 2;        not if m = d + 1

A linear code of one number draws the segment on which the ring's points have their mean, given that number, and on it the
arcsine law q(z) = 1 / (pi sqrt(R² - z²)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.data.targets import RADIUS, bimodal, polygon, pool_of, ring
from patchmosaic.denoisers import (
    CodebookDenoiser,
    Denoiser,
    ExactPolynomialDenoiser,
    IdealDenoiser,
    KernelDensityDenoiser,
    LinearEncoderDenoiser,
    ManifoldDenoiser,
    NearestDenoiser,
    PolynomialDenoiser,
    SmoothedDenoiser,
    SphereDenoiser,
    WienerDenoiser,
)
from patchmosaic.denoisers.bottleneck import Sphere
from patchmosaic.laws import FiniteLaw, Law, generated_law
from patchmosaic.laws.line import LineLaw, kolmogorov_smirnov, wasserstein
from patchmosaic.laws.mixture import MixtureLine
from patchmosaic.sampling import Trajectory, log_uniform_times, sample, seeds

Known = Literal["steps", "limit"]  # the law is that of the steps taken, or that of infinitely many

LINE = bimodal(std=0.1, share=0.7)
STEPS, LOWEST = 40, 1e-3  # of the solver, and the noise level of the last
LINE_EDGES = np.linspace(-1.1, 1.1, 89)
ARCSINE_EDGES = np.linspace(-1.05 * RADIUS, 1.05 * RADIUS, 64)


@dataclass(frozen=True)
class SmallFamily:
    """A denoiser of a small target.

    Attributes:
        title: what pictures and tables call it.
        make: the denoiser.
        known: of which number of steps its law is known, if it is.
        points: (n, 2) what it was fitted to, where that is not the ring.
        twin: the title of a family whose samples these are compared with, seed by seed.
    """

    title: str
    make: Callable[[], Denoiser]
    known: Known | None = "steps"
    points: Float64[Tensor, "n 2"] | None = None
    twin: str | None = None


@dataclass(frozen=True, eq=False)
class SmallOutcome:
    """What a family draws.

    Attributes:
        family: whose samples.
        samples: (n, D).
        numbers: JSON-able: what was measured, and of laws on the line the predicted probability of each bin.
    """

    family: SmallFamily
    samples: Float64[Tensor, "n D"]
    numbers: dict[str, Any]

    @property
    def title(self) -> str:
        """Of the family."""
        return self.family.title


def line_families() -> list[SmallFamily]:
    """Denoisers of two Gaussians of unequal weight, from the one that knows least of them."""
    few, many = LINE.pool(8, 7), LINE.pool(400)
    atoms = pool_of(LINE.centres.repeat_interleave(torch.tensor([3, 7]), 0))  # the weights, as copies

    def polynomial(degree: int) -> SmallFamily:
        return SmallFamily(
            "linear" if degree == 1 else f"polynomial, degree {degree}",
            lambda: ExactPolynomialDenoiser.from_points(*LINE.points(2 * degree), degree=degree),
        )

    return [
        *(polynomial(degree) for degree in (1, 2, 3, 5, 9)),
        SmallFamily("Bayes denoiser", lambda: KernelDensityDenoiser(atoms, LINE.std)),
        SmallFamily("4 codes", lambda: CodebookDenoiser(many, 4, cloud=800)),
        SmallFamily("16 codes", lambda: CodebookDenoiser(many, 16, cloud=800)),
        SmallFamily("nearest of 8 points", lambda: NearestDenoiser(few)),
        SmallFamily("IS of 8 points", lambda: IdealDenoiser(few)),
        SmallFamily("smoothed IS, s = 0.15", lambda: SmoothedDenoiser(IdealDenoiser(few), 0.15)),
        SmallFamily("KDE of them, h = 0.1", lambda: KernelDensityDenoiser(few, 0.1)),
    ]


def plane_families() -> list[SmallFamily]:
    """Denoisers of the ring: polynomials and their polygons, then the bottlenecks and IS."""
    many, few = pool_of(polygon(512)), ring(16)

    def polynomial(degree: int, corners: int | None = None) -> SmallFamily:
        name = f"degree {degree}"
        return SmallFamily(
            name if corners is None else f"{name}, for {corners} points",
            lambda: ExactPolynomialDenoiser.from_points(polygon(corners or 64), degree=degree),
            None,
            None if corners is None else polygon(corners),
            None if corners is None else name,
        )

    return [
        SmallFamily("linear", lambda: WienerDenoiser(many)),
        *(polynomial(2, corners) for corners in (None, 4, 3)),
        *(polynomial(3, corners) for corners in (None, 5, 4)),
        linear_code(),
        SmallFamily("8 codes", lambda: CodebookDenoiser(many, 8, cloud=1024)),
        SmallFamily("fixed decoder: the ring", lambda: ManifoldDenoiser(SphereDenoiser(2, RADIUS), Sphere(RADIUS)), None),
        SmallFamily("IS of 16 points", lambda: IdealDenoiser(few), "limit", few.at(slice(None), torch.float64).flatten(1)),
        SmallFamily("KDE of them, h = 0.1", lambda: KernelDensityDenoiser(few, 0.1), "limit"),
    ]


def linear_code() -> SmallFamily:
    """The bottleneck of one number: of a point of the ring it passes on the first coordinate."""
    points = pool_of(polygon(512))
    return SmallFamily("linear code: 1 number", lambda: LinearEncoderDenoiser(points, torch.eye(2, 1)), "limit")


def line_outcome(family: SmallFamily, count: int) -> SmallOutcome:
    """Samples on the line beside their law, and beside the target."""
    denoiser, drawn = _drawn(family, 1, count)
    samples = drawn.x0
    law = _known_law(denoiser, family)
    target = MixtureLine(LINE.centres[:, 0].numpy(), LINE.weights.numpy(), LINE.std)
    numbers = {
        **agreement(law, samples),
        **_escaped(denoiser, drawn),
        "wasserstein_to_target": wasserstein(target, samples.flatten().numpy()),
        "predicted": np.diff(law.line().cdf(LINE_EDGES)).tolist(),
        "target": np.diff(target.cdf(LINE_EDGES)).tolist(),
    }
    return SmallOutcome(family, samples.flatten(1), numbers)


def plane_outcome(family: SmallFamily, count: int, others: dict[str, SmallOutcome]) -> SmallOutcome:
    """Samples in the plane beside their law where it is known, and beside those of the family's twin, one of `others`."""
    denoiser, drawn = _drawn(family, 2, count)
    points = drawn.x0.flatten(1)
    numbers: dict[str, Any] = {"off_ring": float((points.norm(dim=1) - RADIUS).abs().mean()), **_escaped(denoiser, drawn)}
    if family.known is not None:
        numbers |= agreement(_known_law(denoiser, family), drawn.x0)
    if family.twin is not None:
        numbers["difference"] = float((points - others[family.twin].samples).norm(dim=1).max())
    return SmallOutcome(family, points, numbers)


def arcsine_outcome(family: SmallFamily, count: int) -> SmallOutcome:
    """The code of `linear_code` on the ring beside the arcsine law, whose formula knows nothing of the denoiser."""
    from scipy.stats import arcsine

    law: LineLaw = arcsine(-RADIUS, 2 * RADIUS)
    points = _drawn(family, 2, count)[1].x0.flatten(1)
    code, across = points.unbind(1)
    numbers = {
        "count": count,
        "mean_error": abs(float(code.mean())) / (RADIUS / 2**0.5),
        "variance_ratio": float(code.var(correction=0)) / (RADIUS**2 / 2),
        "wasserstein": [wasserstein(law, code.numpy())],
        "ks": [kolmogorov_smirnov(law, code.numpy())],
        "off_support": float(across.abs().max()),
        "predicted": np.diff(law.cdf(ARCSINE_EDGES)).tolist(),
    }
    return SmallOutcome(family, points, numbers)


def agreement(law: Law, samples: Float[Tensor, "n C H W"]) -> dict[str, Any]:
    """What `Law.compare` says, JSON-able; of laws that are points without KS, which is of no use there."""
    numbers = law.compare(samples).to_json()
    if isinstance(law, FiniteLaw) and law.width == 0:
        del numbers["ks"]
    return numbers


def fine_sample(denoiser: Denoiser, x_T: Float[Tensor, "B C H W"]) -> Trajectory:
    """Heun's method on `fine_times`: samples near those of infinitely many steps."""
    return sample(denoiser, x_T, times=fine_times(denoiser), solver="heun")


def fine_times(denoiser: Denoiser) -> Float64[Tensor, " steps"]:
    """Noise levels down to `LOWEST`, by equal factors."""
    return log_uniform_times(denoiser.schedule, STEPS, LOWEST)


def _drawn(family: SmallFamily, dimension: int, count: int) -> tuple[Denoiser, Trajectory]:
    denoiser = family.make()
    x_T = seeds(count, (dimension, 1, 1)).double() * denoiser.schedule.prior_std()
    return denoiser, fine_sample(denoiser, x_T)


def _known_law(denoiser: Denoiser, family: SmallFamily) -> Law:
    steps = STEPS if family.known == "steps" else None
    return generated_law(denoiser, steps, times=fine_times(denoiser), solver="heun")


def _escaped(denoiser: Denoiser, drawn: Trajectory) -> dict[str, float]:
    """The share of trajectories that met the bound of a polynomial."""
    if not isinstance(denoiser, PolynomialDenoiser):
        return {}
    return {"escaped": float(denoiser.escaped(drawn.x0_hats).double().mean())}
