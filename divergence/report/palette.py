"""The colours of page and charts, light and dark, each told apart by people who do not see red or green.

Charts are written in the light colours; the page's script replaces each by its dark partner, so every light value
occurs once. Blue and orange follow Okabe and Ito (2008); meaning never rests on colour alone (shape, dash or text
says it too).
"""

from __future__ import annotations

LIGHT = {
    "ink": "#1d232b",
    "muted": "#5a6573",
    "faint": "#e3e7ec",
    "band": "#eff2f5",
    "paper": "#ffffff",
    "neutral": "#77818e",
    "gain": "#1a63a8",
    "loss": "#b4500e",
    "loss_cell": "#e8a878",
    "gain_cell": "#8fbce4",
    "middle": "#f3f4f5",
    "floor": "#98a2ae",
}
DARK = {
    "ink": "#e5e9ee",
    "muted": "#9ba7b4",
    "faint": "#2d343d",
    "band": "#20262d",
    "paper": "#15191e",
    "neutral": "#8b97a5",
    "gain": "#69b1f2",
    "loss": "#f09a5b",
    "loss_cell": "#93552a",
    "gain_cell": "#2c659b",
    "middle": "#262c34",
    "floor": "#66717d",
}
TO_DARK = {LIGHT[name]: DARK[name] for name in LIGHT}
