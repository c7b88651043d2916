from numpy import bool_, float32, float64, int64, uint8
from numpy.typing import NDArray

def instruction_sets() -> list[str]: ...
def multiply_adds(rounds: int, threads: int, instructions: str) -> float:
    """Multiply-adds in float32 that wait for nothing, to measure a processor by; returns how many numbers were added."""

def add_patches(
    queries: NDArray[float32] | NDArray[float64],
    precision: NDArray[float64],
    anew_within: NDArray[float64],
    centre: NDArray[float32] | NDArray[float64],
    images: NDArray[uint8] | NDArray[float32],
    index: NDArray[int64] | None,
    start: int,
    stop: int,
    rule: str,
    patch_size: int,
    skip: float,
    threads: int,
    instructions: str,
    m: NDArray[float64],
    s: NDArray[float64],
    v: NDArray[float64],
) -> int:
    """Add the patches of images `start` to `stop` to the sums (m, s, v), in place.

    Shapes as in PosteriorSum and `native_posteriors`; all arrays contiguous. Returns how many groups of patches were weighed.
    """

def half_squared_distances(
    queries: NDArray[float32] | NDArray[float64],
    images: NDArray[uint8] | NDArray[float32],
    index: NDArray[int64] | None,
    start: int,
    stop: int,
    threads: int,
    instructions: str,
    half: NDArray[float64],
    where: NDArray[bool_] | None = None,
) -> None:
    """Write half the squared distances of queries (B, D) to images `start` to `stop` to `half` (B, stop - start).

    Given `where` (B, stop - start), only those.
    """

def add_weighted(
    weights: NDArray[float32] | NDArray[float64],
    images: NDArray[uint8] | NDArray[float32],
    index: NDArray[int64] | None,
    start: int,
    stop: int,
    threads: int,
    instructions: str,
    sums: NDArray[float64],
) -> None:
    """Add images `start` to `stop` times their weights (B, stop - start) to `sums` (B, D)."""

def stream(
    queries: NDArray[float32] | NDArray[float64],
    exact_queries: NDArray[float64],
    precision: NDArray[float64],
    images: NDArray[uint8] | NDArray[float32],
    index: NDArray[int64] | None,
    start: int,
    stop: int,
    threads: int,
    instructions: str,
    nearest: NDArray[float64],
    weight: NDArray[float64],
    anew_within: NDArray[float64],
    skip: float,
    found_nearest: NDArray[float64],
    found_weight: NDArray[float64],
    found_rough: NDArray[float64],
    found_sums: NDArray[float64],
) -> int:
    """The posterior of few queries (B, D) over images `start` to `stop`, as each thread finds it: see `whole_images.stream`.

    Writes `found_nearest`, `found_weight`, `found_rough` (threads, B) and `found_sums` (threads, B, D). Returns how many
    distances were computed anew.
    """
