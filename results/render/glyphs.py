"""Any text as LaTeX that shows it."""

import re

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
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "…": r"\textellipsis{}",
    "€": r"\texteuro{}",
    "\N{MINUS SIGN}": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "∞": r"$\infty$",
}
_GREEK = dict(
    zip(
        "ΓΔΘΛΞΠΣΥΦΨΩαβγδεζηθικλμνξπρςστυφχψω",
        (
            "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega alpha beta gamma delta varepsilon zeta eta theta "
            "iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon varphi chi psi omega"
        ).split(),
        strict=True,
    )
)
_SHOWN = _SPECIAL | _SYMBOLS | {letter: rf"$\{name}$" for letter, name in _GREEK.items()}


def latex_text(text: str) -> str:
    """Return LaTeX that shows each letter of a text; one that pdflatex's fonts lack by its code point, as in `U+1F600`.

    Long words may be broken across lines, which hyphens do not show.
    """
    return " ".join(_word(word) for word in text.split(" "))


def _word(word: str) -> str:
    pieces = [word] if len(word) <= LONG_WORD else _PIECES.findall(word)
    letters = r"\allowbreak{}".join("".join(map(_letter, piece)) for piece in pieces)
    return _LIGATURES.sub(r"\1{}", letters)


def _letter(letter: str) -> str:
    if letter in _SHOWN:
        return _SHOWN[letter]
    return letter if _LATIN.fullmatch(letter) else rf"\texttt{{U+{ord(letter):04X}}}"
