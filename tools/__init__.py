"""Commands for daily work, ``python -m tools.NAME``: arguments in, one call, words out."""
