"""What the tests of the explorer share."""

IMAGES = 100  # enough for different sources, and quick
