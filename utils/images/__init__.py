"""Image and mask files, and colours drawn on them."""
