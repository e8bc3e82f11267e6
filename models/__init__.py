"""The catalogue of architectures: one import line per name that a config may use."""
