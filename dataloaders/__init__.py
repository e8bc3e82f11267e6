"""The catalogue of data sets: one import line per name that a config may use."""
