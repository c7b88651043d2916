"""A pool in shards gives every rank what one process gives, whatever the shards hold; and a rank that fails is named."""

import contextlib
import math
import multiprocessing
import os
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import (
    BoundaryBrokenDenoiser,
    EquivariantDenoiser,
    EquivariantLocalDenoiser,
    IdealDenoiser,
    LocalDenoiser,
)
from patchmosaic.engine import distributed, oracle
from patchmosaic.engine.distributed import RankLostError, Ranks, launched
from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.errors import DataError, PatchMosaicError
from patchmosaic.locality import LocalityScale
from patchmosaic.noise import CosineSchedule

CPU = torch.device("cpu")
SCHEDULE = CosineSchedule()
SHAPE = (2, 5, 4)


# --- processes ---------------------------------------------------------------------------------------------------------


def in_processes(work, world, *arguments):
    """Run work(rank, *arguments) in `world` processes with the environment that torchrun gives; their exit statuses."""
    # As torchrun does, the parent keeps the store through which the ranks find each other.
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.distributed", "patchmosaic.denoisers"])
    processes = [context.Process(target=_in_process, args=(rank, world, store.port, work, arguments)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    return [process.exitcode for process in processes]


def _in_process(rank, world, port, work, arguments):
    torch.set_num_threads(1)
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), **here)
    work(rank, *arguments)


# --- merging -----------------------------------------------------------------------------------------------------------


def candidates(scale, per_pixel):
    """(7, B, h, w) log-weights, some -inf and at one pixel all, and (7, B, C, H, W) values."""
    generator = torch.Generator().manual_seed(0)
    cells = (3, 2) if per_pixel else (1, 1)
    log_weights = scale * torch.randn(7, 2, *cells, generator=generator, dtype=torch.float64)
    log_weights[torch.rand(log_weights.shape, generator=generator) < 0.2] = -math.inf
    log_weights[:, 1, 0, 0] = -math.inf
    return log_weights, torch.randn(7, 2, 2, 3, 2, generator=generator, dtype=torch.float64)


def posterior_of(log_weights, values):
    """One process: the candidates merged one by one."""
    whole = PosteriorSum.empty(2, (2, 3, 2), log_weights.shape[-1] > 1, CPU)
    for l, value in zip(log_weights, values, strict=True):
        there = (l > -math.inf).double()
        whole.merge_(PosteriorSum(l.clone(), there, value * there[:, None]))
    return whole


CASES = [(scale, per_pixel, shards) for scale in (1.0, 1e5) for per_pixel in (True, False) for shards in ("dealt", "one empty")]


def _merge(rank, folder):
    with launched() as ranks:
        results = {}
        for i, (scale, per_pixel, shards) in enumerate(CASES):
            log_weights, values = candidates(scale, per_pixel)
            mine = ranks.shard(7) if shards == "dealt" else [slice(0, 4), slice(0, 0), slice(4, 7)][rank]
            merged = ranks.merge(posterior_of(log_weights[mine], values[mine]))
            results |= {f"{i}.m": merged.m, f"{i}.s": merged.s, f"{i}.v": merged.v}
        results["least"] = ranks.least(torch.tensor(9 - rank))
        results["first"] = torch.tensor(ranks.from_first(lambda: 10 + rank))
        save_file({name: tensor.contiguous() for name, tensor in results.items()}, folder / f"{rank}.safetensors")


def test_merged_shards_are_the_whole(tmp_path):
    assert in_processes(_merge, 3, tmp_path) == [0, 0, 0]
    first, second, third = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(3))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name])
        assert torch.equal(tensor, third[name])
        assert not bool(tensor.isnan().any())
    assert (int(first["least"]), int(first["first"])) == (7, 10)
    for i, (scale, per_pixel, _) in enumerate(CASES):
        log_weights, values = candidates(scale, per_pixel)
        whole = posterior_of(log_weights, values)
        assert torch.equal(first[f"{i}.m"], whole.m)
        torch.testing.assert_close(first[f"{i}.s"], whole.s, rtol=1e-13, atol=0)
        torch.testing.assert_close(first[f"{i}.v"], whole.v, rtol=1e-12, atol=1e-13)
        there = whole.s > 0
        assert not bool(there[1, 0, 0])
        expected = (torch.softmax(log_weights, 0)[:, :, None] * values).sum(0)
        mean = first[f"{i}.v"] / first[f"{i}.s"][:, None]
        kept = there[:, None].expand_as(mean) if per_pixel else there[:, None].expand(-1, 2, 3, 2)
        torch.testing.assert_close(mean[kept], expected[kept], rtol=1e-11, atol=1e-12)


@given(world=st.integers(1, 12), parts=st.integers(1, 12), count=st.integers(0, 40))
def test_every_image_and_every_sample_is_in_one_place(world, parts, count):
    shards = next(shards for shards in range(min(parts, world), 0, -1) if world % shards == 0)
    job = [Ranks(rank, world, shards) for rank in range(world)]
    everything = torch.arange(count)
    for team in range(world // shards):
        members = job[team * shards : (team + 1) * shards]
        held = torch.cat([ranks.shard(count) for ranks in members])
        assert held.sort().values.tolist() == everything.tolist()
        for ranks in members:
            index = everything[everything % 3 == 1]
            assert ranks.of_shard(index).tolist() == [i for i in index.tolist() if i in ranks.shard(count).tolist()]
            assert torch.equal(ranks.of_team(everything), members[0].of_team(everything))
    teams = [job[team * shards].of_team(everything) for team in range(world // shards)]
    assert torch.cat(teams).sort().values.tolist() == everything.tolist()
    assert max(map(len, teams)) - min(map(len, teams)) <= 1


# --- machines ----------------------------------------------------------------------------------------------------------

GLOBAL = {"IS": (IdealDenoiser, oracle.ideal), "ES": (EquivariantDenoiser, oracle.equivariant)}
PATCH = {
    "LS": (LocalDenoiser, oracle.local),
    "ELS": (EquivariantLocalDenoiser, oracle.equivariant_local),
    "bbELS": (BoundaryBrokenDenoiser, oracle.boundary_broken),
}
TIMES = torch.tensor([0.05, 0.4, 0.9, 1.0, 0.4], dtype=torch.float64)
LABELS = torch.tensor([3, 7, 3, 7, 7])


def pool_of(count):
    """Images of two classes; those of class 3 are in the first shard, whether there are two shards or three."""
    images = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return ImageSet(images, [3 if i in (0, 6) else 7 for i in range(count)])


def noisy(pool):
    alpha, sigma = (scale[:, None, None, None] for scale in SCHEDULE(TIMES))
    noise = torch.randn(len(TIMES), *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x0 = pool.images[torch.arange(len(TIMES)) % len(pool)].double()
    return (alpha * x0 + sigma * noise).float()


def machines(pool):
    found = {
        **{name: kind(pool) for name, (kind, _) in GLOBAL.items()},
        **{name: kind(pool, 3) for name, (kind, _) in PATCH.items()},
        "scale": BoundaryBrokenDenoiser(pool, LocalityScale((0.1, 1.0, 10.0), (1, 3, 5))),
    }
    # Memory for one image and two queries: a batch is cut, and the ranks must cut it alike.
    least = found["LS"]._footprint()
    return found | {"cut": LocalDenoiser(pool, 3, memory_budget=least.image + 2 * (least.pair + least.query))}


def answers(ranks, pool):
    x_t = noisy(pool)
    for name, machine in machines(pool).items():
        machine.distribute(ranks)
        yield name, machine(x_t, TIMES)
        yield f"{name}.class", machine(x_t, TIMES, LABELS)
        yield f"{name}.one", machine(x_t[:1], TIMES[:1], LABELS[:1])
    yield "sizes", EquivariantLocalDenoiser(pool, 3).distribute(ranks).at_patch_sizes(x_t, TIMES, [1, 3, 5], LABELS)


def _machines(rank, folder, shards):
    with launched(shards=shards) as ranks:
        results = {f"{count}/{name}": tensor for count in (3, 7) for name, tensor in answers(ranks, pool_of(count))}
    save_file(results, folder / f"{rank}.safetensors")


@pytest.mark.parametrize(("world", "shards"), [(3, 3), (4, 2), (2, 1)])
def test_every_rank_has_what_one_process_has(tmp_path, world, shards):
    """Pools of three images and of seven, unconditional or not; of class 3, all but the first shard hold nothing."""
    assert in_processes(_machines, world, tmp_path, shards) == [0] * world
    ranks = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(world)]
    for count in (3, 7):
        for name, alone in answers(Ranks(), pool_of(count)):
            mine = ranks[0][f"{count}/{name}"]
            torch.testing.assert_close(mine, alone, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
            assert all(torch.equal(mine, other[f"{count}/{name}"]) for other in ranks), name
    assert _worst_error(ranks[0]) < 1e-5


def _worst_error(results):
    pool = pool_of(7)
    errors = []
    for name in [*GLOBAL, *PATCH]:
        for i, (x, t, label) in enumerate(zip(noisy(pool), TIMES, LABELS.tolist(), strict=True)):
            alpha, sigma = (scale.item() for scale in SCHEDULE(t))
            for key, images in [(name, pool.images), (f"{name}.class", pool.at(pool.labels == label))]:
                _, truth = (GLOBAL | PATCH)[name]
                size = () if name in GLOBAL else (3,)
                expected = torch.from_numpy(truth(x[None].double().numpy(), images.numpy(), alpha, sigma, *size))[0]
                errors.append(float((results[f"7/{key}"][i] - expected).norm() / expected.norm()))
    return max(errors)


def rivals():
    """Two images as far from x_t as each other, but for what float32 cannot tell at this noise; one in each of two shards."""
    first, second, other = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1
    apart = first - second
    beside = other - (other * apart).sum() / apart.square().sum() * apart
    x_t = SCHEDULE(0.004)[0] * ((first + second) / 2 + beside)
    return ImageSet(torch.stack([first, second])), x_t[None].float()


def _rivals(rank, folder):
    pool, x_t = rivals()
    with launched() as ranks:
        results = {
            "IS": IdealDenoiser(pool).distribute(ranks)(x_t, 0.004),
            "LS": LocalDenoiser(pool, 15).distribute(ranks)(x_t, 0.004),
        }
    save_file(results, folder / f"{rank}.safetensors")


def test_candidates_that_float32_cannot_part_may_lie_in_two_shards(tmp_path):
    """Each shard alone is sure of its only image: whether float32 is enough shows in the merged posterior only."""
    assert in_processes(_rivals, 2, tmp_path) == [0, 0]
    results = load_file(tmp_path / "0.safetensors")
    pool, x_t = rivals()
    alpha, sigma = (scale.item() for scale in SCHEDULE(0.004))
    arguments = (x_t.double().numpy(), pool.images.numpy(), alpha, sigma)
    for name, truth in [("IS", oracle.ideal(*arguments)), ("LS", oracle.local(*arguments, 15))]:
        error = results[name].double() - torch.from_numpy(truth)
        assert float(error.norm() / torch.from_numpy(truth).norm()) < 1e-5, name


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
def test_a_rank_looks_at_its_shard_only(device):
    """Without the others to merge with, its answer is that of a pool of its own images."""
    pool, ranks = pool_of(7), Ranks(0, 3, 3)
    alone = machines(pool.subset(ranks.shard(7)))
    for name, machine in machines(pool).items():
        machine.distribute(ranks).to(device)
        for labels in (None, LABELS):
            result = machine(noisy(pool).to(device), TIMES, labels).cpu()
            torch.testing.assert_close(result, alone[name](noisy(pool), TIMES, labels), rtol=0, atol=1e-5)


# --- failures ----------------------------------------------------------------------------------------------------------


def _failing(rank, folder, how):
    distributed.BEAT = 0.2
    try:
        with launched(shards=3 if how == "refused" else None) as ranks:
            for step in range(10**6):
                ranks.from_first(lambda step=step: step)
                if step == 3 and rank == 1 and how == "killed":
                    os.kill(os.getpid(), 9)
                if step == 3 and rank == 1 and how == "raises":
                    raise ValueError("something of its own")
                ranks.merge(PosteriorSum.empty(1, (1, 2, 2), True, CPU))
    except (RankLostError, PatchMosaicError, ValueError) as error:
        (folder / f"{rank}").write_text(f"{type(error).__name__}: {error}")
        raise SystemExit(2) from None


@pytest.mark.parametrize("how", ["killed", "raises", "refused"])
def test_what_went_wrong_is_told_once(tmp_path, how):
    begun = time.monotonic()
    statuses = in_processes(_failing, 4, tmp_path, how)
    assert time.monotonic() - begun < 45  # and not after the half hour of a time limit
    told = {int(path.name): path.read_text() for path in tmp_path.iterdir()}
    if how == "raises":
        assert told.pop(1) == "ValueError: something of its own"
    assert len(told) == 1
    assert sorted(statuses) == {"killed": [-9, 1, 1, 2], "raises": [1, 1, 2, 2], "refused": [1, 1, 1, 2]}[how]
    (message,) = told.values()
    assert {
        "killed": "rank 1 of 4 died. The same command",
        "raises": "rank 1 of 4 failed (ValueError: something of its own). The same command",
        "refused": "shards must divide the number of processes, 4, got 3",
    }[how] in message


def test_every_shard_needs_an_image():
    with pytest.raises(DataError, match="4 shards need as many images, got 3"):
        IdealDenoiser(pool_of(3)).distribute(Ranks(0, 4, 4))


def test_alone_there_is_nothing_to_share():
    with launched() as ranks:
        state = PosteriorSum.empty(1, (1, 2, 2), True, CPU)
        assert ranks.merge(state) is state
        assert (ranks.first, ranks.teams, ranks.from_first(lambda: 7)) == (True, 1, 7)
    with pytest.raises(PatchMosaicError, match="shards"), contextlib.ExitStack() as stack:
        stack.enter_context(launched(shards=2))
