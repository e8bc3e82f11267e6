"""Examination of a user's data: what a folder holds, what would hurt training, which config to start from."""
