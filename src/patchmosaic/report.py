"""The report of a comparison: one HTML page that explains itself, with every picture inside, and needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from patchmosaic.calibration import Calibration
from patchmosaic.comparison import BASELINE, Comparison
from patchmosaic.errors import PatchMosaicError
from patchmosaic.files import write_text
from patchmosaic.metrics import METRICS
from patchmosaic.plots import Display, LocalityScaleDisplay, ScatterDisplay, SideBySideDisplay, SummaryDisplay
from patchmosaic.plots.style import ordered, signed

# What each machine may see of the noisy image, and what it may match: in a sentence for someone who has read no paper.
MACHINES = {
    "IS": "ideal score: looks at the whole image and recalls whole training images. It can only copy.",
    "ES": "equivariant score: like IS, but also recalls training images shifted to other places.",
    "LS": "local score: each pixel looks at a window round itself and recalls the same place in training images.",
    "ELS": "equivariant local score: each pixel looks at a window and recalls patches from anywhere; borders wrap round.",
    "bbELS": "boundary-broken ELS: patches from anywhere, but a pixel near the border recalls only patches that lie as near"
    " to it. It is the theory of a network with zero padding.",
    "Wiener": "the best linear denoiser: knows the mean and covariance of the training images and nothing else.",
}
BASELINES = ("IS", "Wiener")


def write_report(
    folder: Path,
    comparisons: Sequence[Comparison],
    calibrations: Sequence[Calibration] = (),
    *,
    manifest: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
) -> Path:
    """Write `folder`/report.html and return its path.

    Args:
        comparisons: one for each number of network steps.
        calibrations: the locality scales that the machines used.
        manifest: what made the results; shown at the end.
        class_names: the name of class i at index i.

    Raises:
        PatchMosaicError: there is no comparison to report.
    """
    if not comparisons:
        raise PatchMosaicError("there is no comparison to report", got="none", hint="`patchmosaic.compare` makes one.")
    sections = [_lead(comparisons[0])]
    for comparison in comparisons:
        sections.append(_comparison(comparison, class_names, titled=len(comparisons) > 1))
    if calibrations:
        sections.append(_calibrations(calibrations))
    sections += [_glossary(comparisons[0]), _manifest(manifest or {})]
    template = Template(files("patchmosaic").joinpath("report_template.html").read_text(encoding="utf-8"))
    path = folder / "report.html"
    write_text(
        path, template.substitute(title="What the network drew, and what theory said it would", body="\n".join(sections))
    )
    return path


def strongest(comparison: Comparison) -> str:
    """The machine, baselines aside, with the largest median r."""
    own = [name for name in comparison.images if name not in BASELINES] or list(comparison.images)
    return max(own, key=lambda name: comparison.median(name).value)


def _lead(comparison: Comparison) -> str:
    best = strongest(comparison)
    r = comparison.median(best).value
    meanings = {"IS": "recalling whole training images (IS)", "Wiener": "the best linear denoiser (Wiener)"}
    others = " and ".join(
        f"{meaning} reaches {signed(comparison.median(name).value)}"
        for name, meaning in meanings.items()
        if name in comparison.images and name != best
    )
    return (
        f'<p class="lead">From the same {len(comparison.seeds)} noises a trained network drew images, and closed formulas'
        f" predicted them without any training. What <strong>{escape(best)}</strong> predicts correlates with the network's"
        f" images at <strong>r = {signed(r)}</strong> (median over seeds){'; for comparison, ' if others else ''}{others}.</p>"
    )


def _comparison(comparison: Comparison, class_names: Sequence[str], titled: bool) -> str:
    heading = f"<h2>Against {comparison.network_steps} network steps</h2>" if titled else "<h2>Side by side</h2>"
    side = SideBySideDisplay.from_comparison(comparison, class_names=class_names)
    best = strongest(comparison)
    shown, total = len(side.headings), len(comparison.seeds)
    caption = (
        f"Each column starts from one noise: {'all' if shown == total else f'the first {shown} of'} {total} seeds, none picked."
        f" The network took {comparison.network_steps} steps, the machines {comparison.steps}."
    )
    others = [_figure(SummaryDisplay.from_comparison(comparison), "Median r with its 95% interval; each small dot is a seed.")]
    if best != BASELINE:
        scatter = ScatterDisplay.from_comparison(comparison, best)
        others.insert(
            0, _figure(scatter, f"One point a seed: above the diagonal, {best} is nearer to the network than {BASELINE}.")
        )
    return "\n".join(
        [
            heading,
            _figure(side, caption, wide=True),
            _table(comparison),
            '<div class="pair">' + "".join(others) + "</div>",
        ]
    )


def _table(comparison: Comparison) -> str:
    names = {"r": "r", "r2": "r²", "R2": "R²", "cosine": "cosine", "mse": "mean squared error"}
    head = "".join(f'<th scope="col">{names[metric]}</th>' for metric in METRICS)
    rows = []
    ranked = sorted(comparison.images, key=lambda name: -comparison.median(name).value)
    for name in ranked:
        cells = "".join(
            f"<td>{signed(interval.value, 3)}<small>{signed(interval.low, 3)} to {signed(interval.high, 3)}</small></td>"
            for interval in (comparison.median(name, metric) for metric in METRICS)
        )
        beats = "" if name == BASELINE else f"{comparison.beats_ideal(name):.0%}"
        mark = ' class="best"' if name == ranked[0] else ""
        rows.append(f'<tr{mark}><th scope="row">{escape(name)}</th>{cells}<td>{beats}</td></tr>')
    return (
        '<div class="table"><table><thead><tr><th scope="col">machine</th>'
        f'{head}<th scope="col">seeds above IS</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        "<p>Medians over seeds with bootstrap 95% intervals. r is the Pearson correlation of an image with the network's; R² is"
        " the share of the network image's variance that is explained, and may be negative.</p>"
    )


def _calibrations(calibrations: Sequence[Calibration]) -> str:
    caption = "The patch size at which each machine is most like the network; shaded, the middle half of the seeds."
    return (
        "<h2>How far a pixel looks</h2><p>At high noise the network takes in much of the image and settles its layout; as the"
        " noise falls each pixel looks at a smaller and smaller neighbourhood.</p>"
        + _figure(LocalityScaleDisplay.from_calibrations(calibrations), caption)
    )


def _glossary(comparison: Comparison) -> str:
    entries = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(MACHINES.get(name, 'a denoiser given by the user.'))}</dd>"
        for name in ordered(comparison.images)
    )
    return f"<h2>The machines</h2><dl>{entries}</dl>"


def _manifest(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"{key}: {', '.join(f'{k} {v}' for k, v in value.items()) if isinstance(value, Mapping) else value}"
        for key, value in manifest.items()
    ]
    return f"<h2>How this was made</h2><pre>{escape(chr(10).join(lines))}</pre>" if lines else ""


def _figure(display: Display, caption: str, *, wide: bool = False) -> str:
    encoded = base64.b64encode(display.png()).decode("ascii")
    width, kind = display.size[0] * 96 * 1.35, ' class="wide"' if wide else ""
    return (
        f'<figure{kind}><div class="scroll"><img alt="{escape(display.alt, quote=True)}"'
        f' style="max-width:{width:.0f}px" src="data:image/png;base64,{encoded}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
