"""PatchMosaic."""
