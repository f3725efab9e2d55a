"""How wide text is, in pixels, without a font at hand: close enough to lay out cards, and never much too narrow.

The advances are rounded up over the fonts that `SANS` and `MONO` are likely to become (Helvetica, Arial, DejaVu, Menlo, Consolas).
"""

from __future__ import annotations

SANS = "Inter, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"

MONO_ADVANCE = 0.603
"""Of the size of the text; Menlo and DejaVu Sans Mono are the widest, 0.602."""

_ADVANCES = {
    "ijl|'": 0.29,
    "I.,:;! ": 0.33,
    "ftr()[]/-·": 0.41,
    "csxzvky": 0.56,
    "mM": 0.98,
    "wW": 0.96,
    "%@→…": 1.0,
}
_CAPITAL, _OTHER = 0.72, 0.635
_BY_CHARACTER = {character: advance for characters, advance in _ADVANCES.items() for character in characters}


def mono_width(text: str, size: float) -> float:
    """The width of text in the monospaced font."""
    return len(text) * MONO_ADVANCE * size


def sans_width(text: str, size: float, bold: bool = False) -> float:
    """The width of text in the proportional font."""
    advances = (_BY_CHARACTER.get(character, _CAPITAL if character.isupper() else _OTHER) for character in text)
    return sum(advances) * size * (1.1 if bold else 1.0)
