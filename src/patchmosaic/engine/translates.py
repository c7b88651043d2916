"""Softmax over all circular translates of all images, by Fourier transform.

    l_(n, d) = gamma (y·T_d phi_n - ‖phi_n‖²/2) + const,    (T_d phi)(p) = phi(p - d),    value T_d phi_n

Both the correlation y·T_d phi_n for all d and the average sum_d w_(n, d) T_d phi_n are products in Fourier space, so the
cost is O(N C H W log HW) a query. Always float64: a transform's error is relative to the largest term, not to the gaps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from patchmosaic.engine.belief import TracedSum, of_images, traced, traced_footprint
from patchmosaic.engine.distributed import ALONE, Ranks
from patchmosaic.engine.memory import WIDEST, Footprint, StoredImages, block_numbers, pool_blocks
from patchmosaic.engine.posterior import Empty, PosteriorSum


def translate_footprint(image_shape: Sequence[int]) -> Footprint:
    """Bytes that `translate_posterior` needs. Queries take turns, so that the scratch is that of an image."""
    pixels = math.prod(image_shape)
    return Footprint(pair=0, query=8 * WIDEST * pixels, image=WIDEST * (8 * pixels + 8 * pixels // image_shape[0]))


def translate_posterior(
    queries: Float64[Tensor, "B C H W"],
    precision: Float64[Tensor, " B"],
    images: StoredImages,
    index: Int64[Tensor, " n"] | None,
    memory_budget: int,
    ranks: Ranks = ALONE,
    empty: Empty = PosteriorSum.empty,
) -> PosteriorSum:
    """The posterior of each query over every image (at `index`) in every circular translation, in a state made by `empty`.

    Raises:
        MemoryBudgetError: `memory_budget` bytes do not hold one image against one query.
    """
    channels, height, width = queries.shape[1:]
    size = (height, width)
    count = len(images) if index is None else len(index)
    whole = empty(len(queries), (channels, height, width), False, queries.device)
    footprint = translate_footprint(queries.shape[1:])
    if isinstance(whole, TracedSum):
        footprint = traced_footprint(footprint, queries.shape[1:], whole.top.shape[1])
    block_size = footprint.images_at_once(len(queries), count, memory_budget, queries.device)
    spectra = torch.fft.rfft2(queries.double())  # (B, C, H, W/2+1)
    for number, block in enumerate(pool_blocks(images, index, block_size, torch.float64)):
        norms = block.square().sum((1, 2, 3))  # (n,)
        transformed = torch.fft.rfft2(block)  # (n, C, H, W/2+1)
        for sample, spectrum in enumerate(spectra):
            correlation = torch.fft.irfft2((spectrum * transformed.conj()).sum(1), s=size)  # (n, H, W): y·T_d phi_n
            log_weights = precision[sample].double() * (correlation - 0.5 * norms[:, None, None])
            m = log_weights.max()
            weights = torch.exp(log_weights - m)
            product = (torch.fft.rfft2(weights)[:, None] * transformed).sum(0)  # (C, H, W/2+1)
            average = torch.fft.irfft2(product, s=size)
            part = PosteriorSum(m.view(1, 1, 1), weights.sum().view(1, 1, 1), average[None])
            if isinstance(whole, TracedSum):
                shifts = torch.arange(height * width, device=queries.device)
                images_of = block_numbers(index, number * block_size, block)
                source = (images_of[:, None] * height * width + shifts).flatten()[:, None, None]
                flat = log_weights.flatten(1)  # (n, HW)
                each = of_images(flat.logsumexp(1)[None, :, None, None], part.m)
                part = traced(part, flat.flatten()[None, :, None, None], source, whole.top.shape[1], each)
            here = slice(sample, sample + 1)
            whole[here] = whole[here].merge_(part)
    return ranks.merge(whole)
