# SPDX-License-Identifier: Apache-2.0
"""Two curves over time as one SVG: memory and descriptors of each process."""

from pathlib import Path
from typing import List, Tuple

from .watch import Watch, fit

_WIDTH, _PANEL, _LEFT, _TOP, _GAP = 900, 220, 70, 40, 60
_COLOURS = {"declawd": "#1f77b4", "keeper": "#2ca02c", "gate": "#d62728"}
Points = List[Tuple[float, float]]


def _nice(most: float) -> float:
    """A round number at or above it."""
    step = 1.0
    while True:
        for m in (1, 2, 2.5, 5):
            if most <= step * m:
                return step * m
        step *= 10


class _Panel:
    def __init__(self, top: float, title: str, most: float, first: float, last: float) -> None:
        self.top, self.title, self.most, self.first, self.span = top, title, _nice(most * 1.05), first, max(1.0, last - first)
        self.out: List[str] = []

    def x(self, seconds: float) -> float:
        return _LEFT + (seconds - self.first) / self.span * (_WIDTH - _LEFT - 20)

    def y(self, value: float) -> float:
        return self.top + _PANEL - value / self.most * _PANEL

    def frame(self, warm: float) -> None:
        right = _WIDTH - 20
        self.out.append(f'<text x="{_LEFT}" y="{self.top - 8:.0f}" font-weight="bold">{self.title}</text>')
        for i in range(5):
            value = self.most * i / 4
            y = self.y(value)
            self.out.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>'
                            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
            seconds = self.first + self.span * i / 4
            self.out.append(f'<text x="{self.x(seconds):.1f}" y="{self.top + _PANEL + 16:.0f}" text-anchor="middle">'
                            f"{self.span * i / 240:.1f} min</text>")
        x = self.x(self.first + min(warm, self.span))
        self.out.append(f'<rect x="{_LEFT}" y="{self.top:.0f}" width="{x - _LEFT:.1f}" height="{_PANEL}" fill="#888" fill-opacity="0.12"/>')

    def line(self, points: Points, colour: str, extra: str = "") -> None:
        path = " ".join(f"{self.x(s):.1f},{self.y(v):.1f}" for s, v in points)
        self.out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5" {extra}/>')


def write(file: Path, watch: Watch, warm: float) -> None:
    """The grey part is the warm-up; the dashed lines are the fitted ones that are judged. No samples, no file."""
    if not watch.rows:
        return
    first, last = watch.rows[0].seconds, watch.rows[-1].seconds
    out: List[str] = []
    panels = (("memory (RSS), MiB", "rss_kib", 1 / 1024), ("descriptors", "fds", 1.0))
    for i, (title, what, scale) in enumerate(panels):
        curves = {n: [(s, v * scale) for s, v in watch.curve(n, what)] for n in watch.names}
        panel = _Panel(_TOP + i * (_PANEL + _GAP), title, max(v for c in curves.values() for _, v in c), first, last)
        panel.frame(warm)
        for name, points in curves.items():
            panel.line(points, _COLOURS[name])
            late = [p for p in points if p[0] - first >= warm]
            if what == "rss_kib" and len(late) > 1:
                slope, base = fit(late)
                panel.line([(s, slope * s + base) for s in (late[0][0], late[-1][0])], _COLOURS[name], 'stroke-dasharray="6 4"')
        out += panel.out
    for i, (name, colour) in enumerate(_COLOURS.items()):
        out.append(f'<text x="{_WIDTH - 280 + i * 90}" y="20" fill="{colour}" font-weight="bold">{name}</text>')
    height = _TOP + 2 * (_PANEL + _GAP)
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>\n' + "\n".join(out) + "\n</svg>\n")
