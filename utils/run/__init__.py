"""One run on disk: folder, checkpoints, logs."""
