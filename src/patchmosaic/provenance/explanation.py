"""Why one pixel is as it is, in words: what it sees, how sure it is, and which training patches made it so."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from patchmosaic.data.imageset import ImageSet
from patchmosaic.errors import PatchMosaicError
from patchmosaic.provenance.mosaic import SETTLED
from patchmosaic.provenance.tracing import Provenance

Place = tuple[int, int, int]  # sample, row, column

_GREYS = ("black", "dark grey", "grey", "light grey", "white")


def checked_place(provenance: Provenance, pixel: Sequence[int], sample: int) -> Place:
    """(sample, row, column), if there is such a pixel.

    Raises:
        PatchMosaicError: there is not.
    """
    place = (sample, *pixel)
    samples, height, width = provenance.captured.shape
    if len(place) != 3 or any(not 0 <= at < size for at, size in zip(place, (samples, height, width), strict=True)):
        raise PatchMosaicError(
            f"pixels are (row, column) of {height} x {width}, samples {samples}, all from 0",
            got=f"pixel {tuple(pixel)} of sample {sample}",
        )
    return sample, int(pixel[0]), int(pixel[1])


def telling_pixel(provenance: Provenance, sample: int = 0) -> tuple[int, int]:
    """The pixel worth asking about first: sure of its source, and unlike most of the picture.

    Of an empty background any patch of background is as good a source as any other. So the gap between the two likeliest
    sources is weighed with how far the pixel is from the median one.
    """
    weight = provenance.weight[sample]
    gap = weight[..., 0] - (weight[..., 1] if weight.shape[-1] > 1 else 0.0)
    drawn = provenance.x0_hat[sample].double().cpu()
    unlike = (drawn - drawn.flatten(1).quantile(0.5, dim=1)[:, None, None]).abs().mean(0)
    row, column = divmod(int((gap * unlike).argmax()), weight.shape[1])
    return row, column


def shade(value: Float[Tensor, " C"]) -> str:
    """A word for a grey pixel in [-1, 1]; of a coloured one how much red, green and blue it has, of 255."""
    bytes_ = ((value.clamp(-1, 1) + 1) * 127.5).round().int().tolist()
    if len(bytes_) == 1:
        return _GREYS[min(bytes_[0] * len(_GREYS) // 255, len(_GREYS) - 1)]
    return f"rgb({', '.join(str(byte) for byte in bytes_)})"


def question(provenance: Provenance, pixel: Sequence[int], sample: int = 0) -> str:
    """ "Why is pixel (12, 8) white?"

    Raises:
        PatchMosaicError: there is no such pixel.
    """
    sample, row, column = checked_place(provenance, pixel, sample)
    return f"Why is pixel ({row}, {column}) {shade(provenance.x0_hat[sample, :, row, column].cpu())}?"


def answer(provenance: Provenance, pixel: Sequence[int], sample: int = 0) -> list[str]:
    """Three sentences: what the pixel sees and compares, what it believes in most, and how many sources it averages.

    Raises:
        PatchMosaicError: there is no such pixel.
    """
    place = checked_place(provenance, pixel, sample)
    size, count = provenance.patch_size, int(provenance.candidates[place])
    sees = "the whole image" if size is None else f"the {size} x {size} pixels round it"
    translated = "translated " if count > len(provenance.pool) else ""
    offered = f"{translated}training images" if size is None else "training patches"
    known = int((provenance.image[place] >= 0).sum())
    images = _several(float(provenance.effective_images[place]), "image", "images")
    averaged = images
    if size is not None:
        averaged = f"{_several(float(provenance.effective_patches[place]), 'patch', 'patches')} of {images}"
    return [
        f"It sees {sees}, and compares what it sees with {count:,} {offered}.",
        _believed(provenance, place),
        f"The {known} likeliest sources hold {percent(float(provenance.captured[place]))} of its belief: "
        f"in effect it averages {averaged}.",
    ]


def _believed(provenance: Provenance, place: Place) -> str:
    """The likeliest source, or that there is none to speak of."""
    first = (*place, 0)
    weight = float(provenance.weight[first])
    where = f"pixel ({int(provenance.row[first])}, {int(provenance.column[first])}) of {source_name(provenance, first)}"
    if weight > SETTLED:
        return f"{percent(weight)} of its belief is in one source, {where}."
    return f"No source has half of its belief; the likeliest, {where}, has {percent(weight)}."


def source_name(provenance: Provenance, source: tuple[int, int, int, int]) -> str:
    """The training image behind (sample, row, column, rank), with its class: "image 812, Trouser"."""
    image = int(provenance.image[source])
    return ", ".join([f"image {image:,}", *class_name(provenance.pool, image)])


def class_name(pool: ImageSet, image: int) -> list[str]:
    """What the class of an image is called, in a list; an empty list where the pool has no classes."""
    return [] if pool.labels is None else [class_title(pool, int(pool.labels[image]))]


def class_title(pool: ImageSet, label: int) -> str:
    """What a class is called: by its name, or by its number where that is all it has."""
    name = pool.class_names[label] if label < len(pool.class_names) else str(label)
    return f"class {name}" if name.isdecimal() else name


def percent(share: float) -> str:
    """A share as people write it: 38%, 5.6%, 99.7%, < 0.1%."""
    if 0 < share < 0.0005:
        return "< 0.1%"
    return f"{share:.0%}" if 0.0995 <= share < 0.9895 or share >= 0.9995 or share == 0 else f"{share:.1%}"


def _several(number: float, one: str, more: str) -> str:
    if number < 1.05:
        return f"1 {one}"
    return f"{number:,.0f} {more}" if number >= 9.95 else f"{number:.1f} {more}"
