"""Any text as LaTeX that shows it."""

import re
import unicodedata

LONG_WORD = 30
"""Letters; a longer word may be broken every few."""

_LATIN = re.compile(r"[ -~¡-§©-¬®-·¹-ĥĨ-ķĹ-ľŁ-ňŊ-ťŨ-ž]")
"""Letters that the usual fonts (encodings T1 and TS1) have."""
_LIGATURES = re.compile(r"([-,'])(?=\1)")
"""Two of these would become one sign."""
_PIECES = re.compile(r".{1,6}")
_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    **{letter: f"{{{letter}}}" for letter in "[]*"},  # at the start of a row, an argument of the one before
}
_SYMBOLS = {
    "\N{EN DASH}": r"\textendash{}",
    "—": r"\textemdash{}",
    "\N{LEFT SINGLE QUOTATION MARK}": r"\textquoteleft{}",
    "\N{RIGHT SINGLE QUOTATION MARK}": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "…": r"\textellipsis{}",
    "€": r"\texteuro{}",
    "\N{MINUS SIGN}": "$-$",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "∞": r"$\infty$",
}
_GREEK = "ΓΔΘΛΞΠΣΥΦΨΩαβγδεζηθικλμνξπρστυφχψω"


def _greek(letter: str) -> str:
    """Return TeX's command, which is the letter's name, in capitals as the letter is."""
    name = unicodedata.name(letter).split()[-1].lower().replace("lamda", "lambda")
    return f"$\\{name.capitalize() if letter.isupper() else name}$"


_SHOWN = _SPECIAL | _SYMBOLS | {letter: _greek(letter) for letter in _GREEK}


def latex_text(text: str) -> str:
    """Return LaTeX that shows each letter of a text; one that pdflatex's fonts lack by its code point, as in `U+1F600`.

    Long words may be broken across lines, which hyphens do not show.
    """
    return " ".join(_word(word) for word in text.split(" "))


def latex_length(text: str) -> int:
    """Return how many letters `latex_text` shows."""
    return len(text) + sum(len(f"U+{ord(letter):04X}") - 1 for letter in text if not _has_glyph(letter))


def _word(word: str) -> str:
    pieces = [word] if len(word) <= LONG_WORD else _PIECES.findall(word)
    letters = r"\allowbreak{}".join("".join(map(_letter, piece)) for piece in pieces)
    return _LIGATURES.sub(r"\1{}", letters)


def _letter(letter: str) -> str:
    if not _has_glyph(letter):
        return rf"\texttt{{U+{ord(letter):04X}}}\allowbreak{{}}"
    return _SHOWN.get(letter, letter)


def _has_glyph(letter: str) -> bool:
    return letter in _SHOWN or _LATIN.fullmatch(letter) is not None
