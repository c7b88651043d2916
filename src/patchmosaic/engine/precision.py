"""Float32 where it is enough, float64 where it is not.

The log-weights of a softmax are large numbers of which only the differences count: at low noise -gamma/2 ‖y - phi‖² may be
-1e5, and float32 keeps it to 0.01. Where the best candidate is far ahead this is harmless; where several are close it moves
the answer. So every float32 pass is followed by an estimate of its own rounding error, and the queries whose estimate
exceeds `TOLERANCE` are done again in float64. Over 5,832 calls in plain torch (digits and synthetic images, every patch
machine, P 1 to 15, t 0.02 to 1) no query estimated below 1e-5 was off by more than 5.9e-6; the median estimate was ten times
too large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from patchmosaic.engine.posterior import FLOAT32_ROUNDOFF, PosteriorSum

TOLERANCE = 8e-6

# (queries in float64, precision, dtype to compute in, which answers) -> for each of those answers (one a patch size), the
# posterior of each query, and the estimated relative L2 error (B,) that rounding leaves in its mean (`PosteriorSum.read_off`
# looks at single pixels too).
Pass = Callable[[Tensor, Tensor, torch.dtype, Sequence[int]], tuple[list[PosteriorSum], list[Tensor]]]


def exact(
    one_pass: Pass, answers: int, queries: Float64[Tensor, "B C H W"], precision: Float64[Tensor, " B"], dtype: torch.dtype
) -> list[PosteriorSum]:
    """Run `one_pass` in `dtype`, and again in float64 for the queries and answers that float32 cannot carry."""
    sums, estimates = one_pass(queries, precision, dtype, range(answers))
    if dtype == torch.float64:
        return sums
    doubted = ~(torch.stack(estimates) <= TOLERANCE)  # (answers, B); an overflow has no estimate: NaN is a doubt too
    which, redo = doubted.any(1).nonzero()[:, 0].tolist(), doubted.any(0)
    if which:
        better, _ = one_pass(queries[redo], precision[redo], torch.float64, which)
        for answer, exact_state in zip(which, better, strict=True):
            sums[answer][redo] = exact_state
    return sums


def log_weight_error(
    state: PosteriorSum, queries: Float[Tensor, "B C H W"], precision: Float64[Tensor, " B"], heaviest: float = 1.0
) -> Float64[Tensor, "B h w"]:
    """Rounding error of log-weights that are sums of squared differences, near the maximum.

    Of the sum itself, and of y - phi before it is squared; `heaviest` is the most that a pixel counts in the sum.
    """
    size = state.m.abs()
    gamma = heaviest * precision[:, None, None]
    largest = queries.double().square().mean((1, 2, 3)).sqrt().clamp_min(1.0)[:, None, None]
    return FLOAT32_ROUNDOFF * (size + largest * (2 * size * gamma).sqrt())


@contextmanager
def float32_products() -> Iterator[None]:
    """Float32 matrix products in float32, also where the process has allowed less: TF32 on a GPU, bfloat16 on a CPU."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch before 2.9
        allowed = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(allowed)
        return
    products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    lowered = [(product, product.fp32_precision) for product in products if product.fp32_precision not in ("none", "ieee")]
    try:
        for product, _ in lowered:
            product.fp32_precision = "ieee"
        yield
    finally:
        for product, allowed in lowered:
            product.fp32_precision = "none"  # "none" follows the setting of its backend, which may be all that was lowered
            if product.fp32_precision != allowed:
                product.fp32_precision = allowed
