"""A first look at somebody's data."""
