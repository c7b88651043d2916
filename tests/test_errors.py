"""What an error says, and that every error can be caught as one kind."""

import inspect

import pytest

from patchmosaic import errors
from patchmosaic.errors import PatchMosaicError, PatchSizeError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


def test_the_message_says_what_was_wrong_what_was_got_and_what_to_try():
    error = PatchSizeError("patch_size must be odd", got=4, hint="Try 3 or 5.")
    assert str(error) == "patch_size must be odd, got 4. Try 3 or 5."
    assert (error.what, error.got, error.hint) == ("patch_size must be odd", 4, "Try 3 or 5.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no images."),
        ({"got": 0}, "no images, got 0."),
        ({"hint": "Give some."}, "no images. Give some."),
        ({"got": (1, 2)}, "no images, got (1, 2)."),
        ({"got": "a file."}, "no images, got a file."),
    ],
)
def test_what_is_missing_leaves_no_trace(arguments, message):
    assert str(PatchMosaicError("no images", **arguments)) == message


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_documented_patchmosaic_error(kind):
    assert issubclass(kind, PatchMosaicError)
    assert kind.__doc__
    with pytest.raises(PatchMosaicError, match="wrong"):
        raise kind("wrong")
