"""The composite beside its neighbours: IS where a patch covers the image, LS of one pixel where it is one pixel."""

import pytest
import torch

from patchmosaic.data.imageset import ImageSet
from patchmosaic.denoisers import IdealDenoiser, LocalDenoiser
from patchmosaic.denoisers.relatives import PatchCompositeDenoiser
from patchmosaic.errors import PatchSizeError
from patchmosaic.locality import LocalityScale

POOL = ImageSet(torch.rand(6, 2, 5, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1)
X_T = torch.randn(4, 2, 5, 4, generator=torch.Generator().manual_seed(1)).double()
TIMES = torch.tensor([0.05, 0.4, 0.05, 0.9], dtype=torch.float64)


@pytest.mark.parametrize("patch_size", [5, 7])
def test_a_patch_that_covers_the_image_is_the_ideal_machine(patch_size):
    torch.testing.assert_close(
        PatchCompositeDenoiser(POOL, patch_size)(X_T, TIMES), IdealDenoiser(POOL)(X_T, TIMES), rtol=0, atol=1e-12
    )


def test_a_patch_of_one_pixel_is_the_local_machine():
    expected = LocalDenoiser(POOL, 1)(X_T, TIMES)
    torch.testing.assert_close(PatchCompositeDenoiser(POOL, 1)(X_T, TIMES), expected, rtol=0, atol=1e-12)


def test_where_only_one_patch_sees_a_pixel_it_decides_alone():
    """The corner of the image is in the corner patch only: there IS of the patches cut out."""
    cut = ImageSet(POOL.images[..., :3, :3])
    corner = IdealDenoiser(cut)(X_T[..., :3, :3], TIMES)[..., 0, 0]
    torch.testing.assert_close(PatchCompositeDenoiser(POOL, 3)(X_T, TIMES)[..., 0, 0], corner, rtol=0, atol=1e-12)


def test_each_sample_takes_the_patch_size_of_its_own_noise():
    scale = LocalityScale((0.08, 1.0, 8.0), (1, 3, 5))
    mixed = PatchCompositeDenoiser(POOL, scale)(X_T, TIMES)
    for sample, size in enumerate([1, 3, 1, 5]):
        alone = PatchCompositeDenoiser(POOL, size)(X_T[sample : sample + 1], TIMES[sample])
        torch.testing.assert_close(mixed[sample : sample + 1], alone, rtol=0, atol=1e-12)


def test_even_patches_are_refused():
    with pytest.raises(PatchSizeError, match="odd"):
        PatchCompositeDenoiser(POOL, 4)
