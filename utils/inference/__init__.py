"""Many files to many files."""
