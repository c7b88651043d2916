"""The byte budget is a promise: its arithmetic is checked for every plan hypothesis can think of, and its effect in a process.

Run as a program, this file is that process: `test_memory.py FOLDER` makes pools there that are far larger than the budget, asks
machines about them, and prints by how many bytes each call made the process grow.
"""

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchmosaic.data import ImageSet, load
from patchmosaic.denoisers import (
    BoundaryBrokenDenoiser,
    Denoiser,
    EquivariantDenoiser,
    EquivariantLocalDenoiser,
    IdealDenoiser,
    LocalDenoiser,
    WienerDenoiser,
)
from patchmosaic.engine.memory import CACHE_BYTES, SCAN_BYTES, Footprint, pool_blocks
from patchmosaic.engine.moments import fit_gaussian
from patchmosaic.engine.native import instructions as native
from patchmosaic.errors import MemoryBudgetError
from patchmosaic.provenance import trace

sizes = st.integers(1, 10**5)
devices = st.sampled_from([torch.device("cpu"), torch.device("cuda")])
footprints = st.builds(Footprint, pair=st.integers(1, 10**6), query=st.integers(0, 10**6), image=st.integers(0, 10**6))


@given(footprint=footprints, queries=sizes, images=sizes, spare=st.integers(0, 10**9), device=devices)
def test_what_is_done_at_once_fits_the_budget(footprint, queries, images, spare, device):
    budget = footprint.pair + footprint.query + footprint.image + spare
    together = footprint.queries_at_once(queries, images, budget, device)
    block = footprint.images_at_once(together, images, budget, device)
    assert 1 <= together <= queries
    assert 1 <= block <= images
    assert together * block * footprint.pair + together * footprint.query + block * footprint.image <= budget


@given(footprint=footprints, queries=st.integers(1, 5), device=devices)
def test_what_cannot_fit_is_refused_with_the_budget_that_does(footprint, queries, device):
    least = queries * (footprint.pair + footprint.query) + footprint.image
    with pytest.raises(MemoryBudgetError, match=f"{least - 1:,} bytes") as caught:
        footprint.images_at_once(queries, 7, least - 1, device)
    hinted = int(re.search(r"at least ([\d,]+) bytes", str(caught.value))[1].replace(",", ""))
    assert hinted == least
    assert footprint.images_at_once(queries, 7, hinted, device) >= 1


@given(queries=sizes, images=sizes)
def test_queries_share_images_that_cost_more_than_a_pair(queries, images):
    """As many images as fill the room would leave it to one query after another, each reading the whole pool."""
    footprint = Footprint(pair=32, query=100_000, image=75_000)
    together = footprint.queries_at_once(queries, images, 2**30, torch.device("cpu"))
    assert together >= min(queries, 100)
    assert footprint.images_at_once(together, images, 2**30, torch.device("cpu")) >= min(images, 100)


def test_a_gpu_uses_the_budget_and_a_cpu_the_cache():
    footprint = Footprint(pair=1000, query=10, image=10)
    assert footprint.queries_at_once(10, 10**5, 2**30, torch.device("cuda")) == 10
    assert footprint.images_at_once(10, 10**5, 2**30, torch.device("cuda")) == 10**5
    at_once = footprint.images_at_once(1, 10**5, 2**30, torch.device("cpu"))
    assert CACHE_BYTES / 2 < at_once * 1000 < CACHE_BYTES


@given(
    count=st.integers(1, 20),
    size=st.integers(1, 25),
    seed=st.integers(0, 100),
    chosen=st.booleans(),
    eight_bit=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_blocks_are_the_pool_in_order(count, size, seed, chosen, eight_bit, dtype):
    """The numbers of 8-bit images are float32 ones, made here by NumPy, and no others in float64."""
    generator = torch.Generator().manual_seed(seed)
    stored = torch.randint(256, (count, 1, 2, 2), generator=generator, dtype=torch.uint8)
    images = torch.from_numpy(stored.numpy().astype(np.float32) / np.float32(127.5) - np.float32(1))
    index = torch.randint(count, (count // 2 + 1,), generator=generator) if chosen else None
    blocks = list(pool_blocks(stored if eight_bit else images, index, size, dtype))
    assert all(len(block) <= size and block.dtype == dtype for block in blocks)
    assert torch.equal(torch.cat(blocks), (images if index is None else images[index]).to(dtype))


BUILD = {
    "IS": lambda pool, **options: IdealDenoiser(pool, **options),
    "ES": lambda pool, **options: EquivariantDenoiser(pool, **options),
    "LS": lambda pool, **options: LocalDenoiser(pool, 3, **options),
    "ELS": lambda pool, **options: EquivariantLocalDenoiser(pool, 3, **options),
    "bbELS": lambda pool, **options: BoundaryBrokenDenoiser(pool, 3, **options),
}


@pytest.fixture
def mapped(tmp_path):
    """Eight random images of two classes, 8-bit, mapped from a file."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "pool.npy", rng.integers(0, 256, (8, 2, 6, 5), dtype=np.uint8))
    np.save(tmp_path / "pool_labels.npy", np.array([3, 7, 7, 3, 7, 3, 7, 7]))
    return load(tmp_path / "pool.npy", None)


@pytest.mark.parametrize("label", [None, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("machine", [*BUILD, "Wiener"])
def test_a_mapped_pool_of_bytes_gives_the_answers_of_its_numbers(mapped, machine, dtype, label):
    levels = mapped.stored.numpy().astype(np.float32) / np.float32(127.5) - np.float32(1)
    numbers = ImageSet(torch.from_numpy(levels), mapped.labels)
    x_t = torch.randn(3, *mapped.image_shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    times = torch.tensor([0.05, 0.4, 0.9])
    build = WienerDenoiser if machine == "Wiener" else BUILD[machine]
    # Either path may round float32 in its own way; float64 ones see the same float32 pixels.
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(build(mapped)(x_t, times, label), build(numbers)(x_t, times, label), rtol=0, atol=tolerance)


@pytest.mark.parametrize("machine", BUILD)
def test_a_budget_below_one_image_is_refused(mapped, machine):
    pixels = mapped.stored[0].numel()
    denoiser = BUILD[machine](mapped, memory_budget=4 * pixels)  # bytes of an image in float32, without room to work in
    with pytest.raises(MemoryBudgetError, match=f"got {4 * pixels:,} bytes. Give memory_budget at least [0-9,]+ bytes"):
        denoiser(torch.zeros(1, *mapped.image_shape), 0.5)


BUDGET = 4 * 2**20
SLACK = 2**20  # for the interpreter and the matrix library
POOL = (2**17, 3, 16, 16)  # 100 MB: 24 times the budget as bytes, 192 times as the float64 numbers that are computed with
VALUES = math.prod(POOL[1:])
FEW = 192  # more than a block of ELS
PIECE = 64 * 2**20
TRACED = {f"{machine} traced": BUILD[machine] for machine in BUILD}
IN_TORCH = {f"{machine} in torch": BUILD[machine] for machine in ("LS", "ELS", "bbELS")}


@pytest.fixture(scope="module")
def growth(tmp_path_factory):
    """What the child process prints: name of a call -> bytes."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory of a process is read from /proc")
    command = [sys.executable, __file__, str(tmp_path_factory.mktemp("pools"))]
    # malloc would keep what is freed and use it again in pieces: a call could seem to need nothing, or twice what it asks for.
    no_reuse = {"MALLOC_MMAP_THRESHOLD_": str(2**17), "MALLOC_TRIM_THRESHOLD_": str(2**17)}
    done = subprocess.run(command, env={**os.environ, **no_reuse}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_measure_sees_what_is_allocated(growth):
    assert PIECE <= growth["a piece of the pool as numbers"] < PIECE + SLACK


@pytest.mark.parametrize("machine", [*BUILD, *IN_TORCH, *TRACED])
def test_a_process_does_not_outgrow_its_budget(growth, machine):
    assert growth[machine] < BUDGET + SLACK


@pytest.mark.parametrize(
    ("call", "state"),
    [("load 8-bit", 0), ("load float32", 0), ("content hash", 0), ("denoiser", 0), ("Wiener", 6 * 8 * VALUES**2)],
)
def test_what_looks_at_every_image_looks_at_a_block_at_a_time(growth, call, state):
    """Each is of at least 100 MB. Beside blocks the Wiener machine holds a covariance, and what decomposing it takes."""
    assert growth[call] < state + 4 * SCAN_BYTES + SLACK


def anonymous_bytes():
    """Memory of this process that no file backs. Pages of a mapped pool are resident too, but the kernel takes them back
    whenever it needs room, so they are nobody's budget."""
    _, resident, of_files, *_ = Path("/proc/self/statm").read_text().split()
    return (int(resident) - int(of_files)) * os.sysconf("SC_PAGE_SIZE")


def peak_growth(call):
    """By how many bytes this process grows while `call` runs, at its highest; looked at every millisecond."""
    before = highest = anonymous_bytes()
    done = threading.Event()

    def watch():
        nonlocal highest
        while not done.is_set():
            highest = max(highest, anonymous_bytes())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return highest - before


def make_pools(folder):
    """Files of zeros that take no room on the disk, but for a few images of class 1, which are noise."""
    rng = np.random.default_rng(0)
    few = np.arange(FEW) * (POOL[0] // FEW)
    np.lib.format.open_memmap(folder / "bytes.npy", "w+", np.uint8, POOL)[few] = rng.integers(0, 256, (FEW, *POOL[1:]))
    np.lib.format.open_memmap(folder / "bytes_labels.npy", "w+", np.int64, POOL[:1])[few] = 1
    # A negative value at the very end: all is looked at before the range is known.
    np.lib.format.open_memmap(folder / "floats.npy", "w+", np.float32, (POOL[0] // 4, *POOL[1:]))[-1] = -1


def main(folder):
    make_pools(folder)
    torch.set_num_threads(1)
    grown = {"load 8-bit": peak_growth(lambda: load(folder / "bytes.npy", None))}
    grown["load float32"] = peak_growth(lambda: load(folder / "floats.npy", None))
    pool = load(folder / "bytes.npy", None)
    few = pool.subset(pool.of_class(1))
    grown["content hash"] = peak_growth(lambda: pool.content_hash)
    grown["denoiser"] = peak_growth(lambda: IdealDenoiser(pool))
    fit_gaussian(few.stored.flatten(1))
    grown["Wiener"] = peak_growth(lambda: fit_gaussian(pool.stored.flatten(1)[: POOL[0] // 8]))  # 100 MB in float64
    x_t = torch.randn(1, *POOL[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name, build in {**BUILD, **TRACED, **IN_TORCH}.items():
        if name in IN_TORCH:
            os.environ[native.CHOICE] = "0"
        call = trace if name in TRACED else Denoiser.__call__
        # Of ELS, bbELS and ES every position of every image is a candidate: a few images are enough for them.
        label = None if name.split()[0] in ("IS", "LS") else 1
        call(build(few, memory_budget=BUDGET), x_t, 0.5)  # what is loaded on first use is no part of a call
        denoiser = build(pool, memory_budget=BUDGET)
        grown[name] = peak_growth(lambda call=call, denoiser=denoiser, label=label: call(denoiser, x_t, 0.5, label))
    piece = slice(PIECE // (4 * few.stored[0].numel()))
    grown["a piece of the pool as numbers"] = peak_growth(lambda: pool.at(piece))
    sys.stdout.write(json.dumps(grown))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
