"""What can be found out about images and beliefs: is an image a copy, where is it new, when does a machine know its source.

Each module holds one analysis, and results that become JSON; their pictures are in `patchmosaic.plots`.
"""
