"""Class names as the font of figures can draw them: it has the letters of English and few others."""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections import Counter

from PIL import ImageFont

logger = logging.getLogger(__name__)

_SIZE = 16  # in pixels; which letters the font has does not depend on it
_ABSENT = "\uffff"  # no font has a letter for it


@functools.cache
def drawable_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name for each class that a figure can show; different names stay different.

    A name with letters that the font lacks loses its accents or, where that is not enough, becomes the class
    index. A table of these indices is logged once.
    """
    short = [name if _is_drawable(name) else _without_accents(name) for name in classes]
    counts = Counter(short)
    kept = {
        index: text
        for index, (name, text) in enumerate(zip(classes, short, strict=True))
        if _is_drawable(text) and (text == name or counts[text] == 1)
    }
    taken = set(kept.values())
    shown = [kept[index] if index in kept else _free_number(index, taken) for index in range(len(classes))]
    table = [f"{shown[index]} = {name}" for index, name in enumerate(classes) if index not in kept]
    if table:
        logger.warning("figures show the class index where their font lacks a name: %s", ", ".join(table))
    return tuple(shown)


def _free_number(index: int, taken: set[str]) -> str:
    """Return a class index as text, with a full stop where a class has this very name."""
    text = str(index)
    while text in taken:
        text += "."
    return text


def _without_accents(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _is_drawable(name: str) -> bool:
    return name.isprintable() and all(map(_has_letter, name))


@functools.cache
def _has_letter(letter: str) -> bool:
    """Return whether the font has a letter: the others all look alike."""
    font = ImageFont.load_default(_SIZE)
    try:
        return bytes(font.getmask(letter)) != bytes(font.getmask(_ABSENT))
    except UnicodeEncodeError:  # of the font that Pillow has without FreeType
        return letter.isascii()
