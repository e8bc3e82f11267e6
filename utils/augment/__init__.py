"""Random geometry as one warp of the crop, then colour."""
