"""Many images, or the frames of a video, to masks and other outputs on disk."""
