"""More than one process: each holds a shard of the pool, and their posteriors are merged.

    M = max_r m_r,    s = sum_r s_r exp(m_r - M),    v = sum_r v_r exp(m_r - M)

Every rank makes the same calls with the same queries and gets the same answers. The `world` ranks are world / shards teams: a
team holds the pool once, in `shards` parts, and takes its share of the samples of every batch. With world = 6, shards = 3:

    team 0: ranks 0 1 2, samples 0 2 4 ...      team 1: ranks 3 4 5, samples 1 3 5 ...
    ranks 1 and 4 hold the images 1 4 7 ...

Images are dealt out one by one because pools are often sorted by class: every rank has its part of every class.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from patchmosaic.engine.posterior import PosteriorSum
from patchmosaic.errors import PatchMosaicError

Value = TypeVar("Value")

PATIENCE = timedelta(minutes=30)
BEAT = 1.0  # seconds between signs of life
RESUME = "The same command takes up after the last finished step."


class RankLostError(PatchMosaicError):
    """A process of the job died, stopped answering, or was told to stop."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its job; by default it is alone.

    Attributes:
        rank: which process this is, of `world`.
        shards: how many ranks hold the pool between them; a divisor of `world`.
        team: the ranks that do the same samples, each with its shard.
        peers: the ranks that hold the same shard, each at other samples.
        held: whether this rank has any candidate; if not, what it merges counts for nothing.
    """

    rank: int = 0
    world: int = 1
    shards: int = 1
    team: dist.ProcessGroup | None = None
    peers: dist.ProcessGroup | None = None
    held: bool = True

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @property
    def teams(self) -> int:
        """How many parts the samples of a batch are dealt out to."""
        return self.world // self.shards

    def shard(self, count: int) -> Int64[Tensor, " n"]:
        """Positions of this rank's images in a pool of `count`."""
        return torch.arange(min(self.rank % self.shards, count), count, self.shards)

    def of_shard(self, index: Int64[Tensor, " n"]) -> Int64[Tensor, " k"]:
        """Positions in the pool -> those of them that are in this rank's shard."""
        return index[index % self.shards == self.rank % self.shards]

    def of_team(self, samples: Int64[Tensor, " b"]) -> Int64[Tensor, " k"]:
        """Positions in a batch -> those that this rank's team does."""
        return samples[samples % self.teams == self.rank // self.shards]

    def merge(self, state: PosteriorSum) -> PosteriorSum:
        """The posterior over the whole pool from that over each shard; where no rank has a candidate it stays empty."""
        if self.team is None:
            return state
        mine = state.m if self.held else torch.full_like(state.m, -torch.inf)
        m = mine.clone()
        _reduce(m, dist.ReduceOp.MAX, self.team)
        # As in PosteriorSum.merge_: -inf - -inf would be NaN, any finite peak gives weight 0.
        scale = torch.exp(mine - torch.where(m == -torch.inf, torch.zeros_like(m), m))
        sums = torch.cat([(state.s * scale).flatten(), (state.v * scale[:, None]).flatten()])
        _reduce(sums, dist.ReduceOp.SUM, self.team)
        s, v = sums.split([state.s.numel(), state.v.numel()])
        return PosteriorSum(m, s.view_as(state.s), v.view_as(state.v))

    def least(self, numbers: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Elementwise the least that a rank of the team has: what they decide alike they decide by it."""
        if self.team is None:
            return numbers
        least = numbers.clone()
        _reduce(least, dist.ReduceOp.MIN, self.team)
        return least

    def gather(self, batch: Float[Tensor, "*K B C H W"]) -> Float[Tensor, "*K B C H W"]:
        """All samples of a batch, from tensors in which each team has filled in its own and left 0 elsewhere."""
        if self.peers is not None:
            _reduce(batch, dist.ReduceOp.SUM, self.peers)
        return batch

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What `make` returns on rank 0, on every rank."""
        if self.world == 1:
            return make()
        box: list[Any] = [make() if self.first else None]
        _spoken(dist.broadcast_object_list, box)
        value: Value = box[0]
        return value


ALONE = Ranks()


def _reduce(tensor: Tensor, operation: Any, group: dist.ProcessGroup) -> None:
    _spoken(dist.all_reduce, tensor, operation, group)


def _spoken(collective: Callable[..., Any], *arguments: Any) -> None:
    try:
        collective(*arguments)
    except RuntimeError as error:
        raise RankLostError("another process of this job does not answer", got=str(error), hint=RESUME) from error


@contextmanager
def launched(device: str = "cpu", shards: int | None = None, patience: timedelta = PATIENCE) -> Iterator[Ranks]:
    """The ranks of this job: as torchrun's environment tells them, or this process alone.

    What goes wrong on several ranks, or on one, is raised by one of them; the others leave silently with exit status 1.

    Args:
        device: "cpu" (gloo) or "cuda" (nccl), which then is the device of LOCAL_RANK.
        shards: how many ranks hold the pool between them; by default all.
        patience: how long a rank waits for the others, where nothing tells that they died.

    Raises:
        PatchMosaicError: `shards` does not divide the number of ranks.
        RankLostError: another rank died or stopped answering, or the job was told to stop.
    """
    if "WORLD_SIZE" not in os.environ:
        yield _ranks(0, 1, shards, patience)
        return
    backend = "nccl" if device.startswith("cuda") else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, world = next(rendezvous("env://", timeout=patience))
    with _signs_of_life(store, rank):
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=patience)
        before = signal.signal(signal.SIGTERM, _told_to_stop)
        try:
            yield _ranks(rank, world, shards, patience)
        except BaseException as error:
            # torchrun sends SIGTERM as soon as one rank is gone; what happened is to be told first.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _leave(error, store, rank, world)
            raise
        signal.signal(signal.SIGTERM, before)
        dist.destroy_process_group()


def _ranks(rank: int, world: int, shards: int | None, patience: timedelta) -> Ranks:
    shards = world if shards is None else shards
    if shards < 1 or world % shards:
        raise PatchMosaicError(f"shards must divide the number of processes, {world}", got=shards)
    teams = [list(range(first, first + shards)) for first in range(0, world, shards)]
    peers = [list(range(shard, world, shards)) for shard in range(shards)]
    return Ranks(rank, world, shards, _group(teams, patience), _group(peers, patience))


def _group(partition: list[list[int]], patience: timedelta) -> dist.ProcessGroup | None:
    """The part that this rank is in; None where it has that to itself. A call that all ranks make together."""
    if len(partition[0]) == 1:
        return None
    group: dist.ProcessGroup
    group, _ = dist.new_subgroups_by_enumeration(partition, timeout=patience)
    return group


@contextmanager
def _signs_of_life(store: Store, rank: int) -> Iterator[None]:
    """Tell the store again and again that this rank lives, also while it computes or waits for others."""
    done = threading.Event()
    store.set(f"beat {rank}", "0")

    def beat() -> None:
        beats = 0
        while not done.wait(BEAT):
            beats += 1
            try:
                store.set(f"beat {rank}", str(beats))
            except RuntimeError:  # the process that keeps the store is gone: the next collective says so
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _leave(error: BaseException, store: Store, rank: int, world: int) -> None:
    """Raise what is to be told instead of `error`, or SystemExit where another rank tells it."""
    lost = isinstance(error, RankLostError)
    try:
        store.set(f"left {rank}", "" if lost else f"{type(error).__name__}: {error}")
        if isinstance(error, (PatchMosaicError, KeyboardInterrupt)) and store.add("told", 1) > 1:
            raise SystemExit(1) from None
        fates = _fates(store, world) if lost else []
    except RuntimeError:  # the store is gone, and with it all that could be known of the others
        return
    if fates:
        raise RankLostError("; ".join(fates), hint=RESUME) from error


def _fates(store: Store, world: int) -> list[str]:
    """What became of the ranks that did not leave because of another."""

    def beats() -> list[bytes]:
        return [store.get(f"beat {rank}") for rank in range(world)]

    before = beats()
    time.sleep(3 * BEAT)
    fates = []
    for rank, (old, new) in enumerate(zip(before, beats(), strict=True)):
        name = f"rank {rank} of {world}"
        if store.check([f"left {rank}"]):
            reason = store.get(f"left {rank}").decode()
            fates += [f"{name} failed ({reason})"] if reason else []
        elif old == new:
            fates.append(f"{name} died")
    return fates


def _told_to_stop(signal_number: int, frame: FrameType | None) -> None:
    raise RankLostError("the job was told to stop", hint=RESUME)
