"""The terminal's colours, dark and light. What they are used for is in `look.tcss`."""

from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="chatroom-dark",
    dark=True,
    primary="#7c8cff",
    secondary="#5ad1c8",
    accent="#ffb454",
    success="#4fd18b",
    warning="#ffb454",
    error="#ff6b7a",
    foreground="#e4e6f0",
    background="#12131c",
    surface="#171925",
    panel="#202332",
    variables={"footer-background": "#12131c", "footer-key-foreground": "#7c8cff"},
)
LIGHT: Final = Theme(
    name="chatroom-light",
    dark=False,
    primary="#4653d6",
    secondary="#0f857c",
    accent="#b25e00",
    success="#1a8a4c",
    warning="#9a5b00",
    error="#c9304a",
    foreground="#1d2030",
    background="#f7f7fb",
    surface="#ffffff",
    panel="#e9ebf5",
    variables={"footer-background": "#f7f7fb", "footer-key-foreground": "#4653d6"},
)
