"""Draw 8 x 8 images of handwritten digits in a terminal."""

from __future__ import annotations

import sys

import numpy as np

BRIGHTEST_PIXEL = 16
TERMINAL_COLUMNS = 80
GAP = " " * 4

# From no ink to full ink. A pixel takes two characters, because a character is about twice as high as wide.
SHADES = " ░▒▓█"
ASCII_SHADES = " .:-=+*#%@"
CHARACTERS_PER_PIXEL = 2


def draw(images: np.ndarray, captions: list[str], *, encoding: str | None = None) -> str:
    """Return `images` (n, 8, 8), pixels from 0 to 16, side by side, each above its line of `captions`.

    The drawing fits in 80 columns unless one caption alone is wider; what does not fit beside goes below.
    `encoding` is where the text will be printed (default: standard output's); where it has no shade
    characters the drawing is plain ASCII. No line ends in spaces.

    Raises `ValueError` when images and captions do not match in number, or pixels are out of range.
    """
    pixels = np.asarray(images)
    if pixels.ndim != 3:
        raise ValueError(f"images must have shape (n, height, width), not {pixels.shape}")
    if len(pixels) != len(captions):
        raise ValueError(f"{len(pixels)} images need as many captions, not {len(captions)}")
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= BRIGHTEST_PIXEL):
        raise ValueError(f"pixels must lie between 0 and {BRIGHTEST_PIXEL}")

    shades = shades_for(encoding or sys.stdout.encoding or "ascii")
    image_width = pixels.shape[2] * CHARACTERS_PER_PIXEL
    width = max([image_width, *map(len, captions)])
    beside = max(1, (TERMINAL_COLUMNS + len(GAP)) // (width + len(GAP)))

    pictures = [
        [line.center(width) for line in [*lines_of(image, shades), caption]]
        for image, caption in zip(pixels, captions, strict=True)
    ]
    strips = [pictures[start : start + beside] for start in range(0, len(pictures), beside)]
    return "\n\n".join(
        "\n".join(GAP.join(row).rstrip() for row in zip(*strip, strict=True)) for strip in strips
    )


def shades_for(encoding: str) -> str:
    """Return the finest row of shades that `encoding` can print."""
    try:
        SHADES.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII_SHADES
    return SHADES


def lines_of(image: np.ndarray, shades: str) -> list[str]:
    """Return one line of text for each row of `image`."""
    levels = np.rint(image / BRIGHTEST_PIXEL * (len(shades) - 1)).astype(int)
    return ["".join(shades[level] * CHARACTERS_PER_PIXEL for level in row) for row in levels.tolist()]
