"""One image to class probabilities."""
