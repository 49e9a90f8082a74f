r"""Characters that nobody sees or that act on a terminal: which they are, how they are named and escaped. Pure.

common/ids.py refuses them in ids and names. The logs and the commands escape those that act in all that they print.
Each set here is the inside of a regular expression's [...].
"""

import re
import unicodedata
from typing import Final

CONTROL: Final = r"\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
SURROGATES: Final = r"\ud800-\udfff"  # JSON can smuggle in one half of a pair, which no UTF-8 holds
# They shape the characters around them: emoji, Persian, Hindi, rare kanji (ZWNJ, ZWJ, variation selectors).
JOINERS: Final = r"\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef"
# Unicode's Default_Ignorable_Code_Point but for the joiners, the separators of lines and paragraphs, annotations, empty
# glyphs that are not white space (U+2800, U+1D159), and code points that never are characters (U+FFFE and its like).
INVISIBLE: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
) + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(17))

# What could move the cursor, color the screen, begin a line, or turn the order of the text around.
ACTING: Final = re.compile(rf"[{CONTROL}{SURROGATES}\u2028-\u202e\u2066-\u2069]")

_UNNAMED: Final = {"Cc": "(a control character)", "Cs": "(a lone surrogate)", "Cn": "(no character)"}


def described(character: str) -> str:
    """Return a character's number and name, such as `U+200B ZERO WIDTH SPACE`."""
    name = unicodedata.name(character, "") or _UNNAMED.get(unicodedata.category(character), "")
    return f"U+{ord(character):04X} {name}".rstrip()


def escaped(text: str) -> str:
    r"""Return the text with each character that acts on a terminal as `\x1b` or `\u202e`."""
    return ACTING.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
