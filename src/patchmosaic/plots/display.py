"""Display: what all pictures have in common. A subclass says how large it is, what it shows in words, and how it is drawn."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from patchmosaic.errors import PatchMosaicError
from patchmosaic.files import replacing
from patchmosaic.plots.style import LIGHT, Theme, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 220

SomeDisplay = TypeVar("SomeDisplay", bound="Display")


class Display(ABC):
    """A picture of a result.

    Attributes:
        ax_: the axes it was drawn on, after `plot`.
        figure_: the whole figure that holds them.
    """

    ax_: Axes
    figure_: Figure

    @property
    @abstractmethod
    def size(self) -> tuple[float, float]:
        """(width, height) in inches, at which its text is readable in print."""

    @property
    @abstractmethod
    def alt(self) -> str:
        """What the picture shows, in words and numbers, for those who cannot see it."""

    @abstractmethod
    def _draw(self, ax: Axes, theme: Theme) -> None:
        """Draw on `ax`."""

    def plot(self: SomeDisplay, ax: Axes | None = None, *, theme: Theme = LIGHT) -> SomeDisplay:
        """Draw on `ax`, or on a new figure of its own size; returns the display."""
        ax = self._new_axes(theme) if ax is None else ax
        self._draw(ax, theme)
        self.ax_, self.figure_ = ax, ax.figure.figure  # the second step leaves a subfigure
        return self

    def save(self, path: str | Path, *, dpi: int = DPI) -> Path:
        """Write the figure, drawing it first if need be; the suffix decides the format. The file is whole or absent.

        Raises:
            PatchMosaicError: matplotlib cannot write such a file.
        """
        path = Path(path)
        figure = self._drawn()
        formats = figure.canvas.get_supported_filetypes()
        if path.suffix[1:].lower() not in formats:
            raise PatchMosaicError(
                "cannot write a picture of this kind", got=path.name, hint=f"Known: {', '.join(sorted(formats))}."
            )
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=dpi)
        return path

    def png(self, *, dpi: int = DPI) -> bytes:
        """The figure as the bytes of a PNG file; notebooks and reports show this."""
        buffer = io.BytesIO()
        self._drawn().savefig(buffer, format="png", dpi=dpi)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()

    def _drawn(self) -> Figure:
        return self.figure_ if hasattr(self, "figure_") else self.plot().figure_

    def _new_axes(self, theme: Theme) -> Axes:
        return new_axes(*self.size, theme)
