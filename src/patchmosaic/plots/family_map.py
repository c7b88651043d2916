"""The summary of the families: the map of variants, in words that fit denoisers which nobody trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchmosaic.plots.style import TITLE, Theme
from patchmosaic.plots.variant_map import VariantMapDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class FamilyMapDisplay(VariantMapDisplay):
    """Families by what they generate. Arguments and errors: see VariantMapDisplay."""

    @property
    def alt(self) -> str:
        return super().alt.replace("Variants", "Denoisers").replace("networks trained on", "denoisers made from")

    def _draw(self, ax: Axes, theme: Theme) -> None:
        super()._draw(ax, theme)
        copies, agreement = self.panels_
        copies.set_title("Denoisers against what they generate", loc="left", fontsize=TITLE, color=theme.ink, pad=7)
        agreement.set_xlabel("r of what denoisers made from\ndifferent images draw")
