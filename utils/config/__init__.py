"""A config: JSON in, checked sections and built objects out."""
