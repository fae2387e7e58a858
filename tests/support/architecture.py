"""Draws the subpackages and their imports: `python -m tests.support.architecture` writes the picture.

The picture is `docs/images/architecture.svg`. `docs/architecture.md` shows it.
"""

from __future__ import annotations

import html

from tests.support import imports

PICTURE = imports.ROOT.parent / "docs" / "images" / "architecture.svg"
WIDTH, BOX, GAP, FLOOR, TOP = 960, 118, 30, 84, 20
HEIGHT_OF_BOX = 34


def floors(graph: dict[str, set[str]]) -> list[list[str]]:
    """Returns the subpackages by level, from the lowest to the highest. Each imports only from lower levels."""
    level: dict[str, int] = {}

    def find(name: str) -> int:
        if name not in level:
            level[name] = 1 + max((find(target) for target in graph[name]), default=-1)
        return level[name]

    for name in graph:
        find(name)
    return [sorted(name for name in graph if level[name] == number) for number in range(max(level.values()) + 1)]


def direct(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Returns the imports that are not implied by others: `a` to `c` is left out if `a` reaches `c` through `b`."""

    def reached(name: str) -> set[str]:
        return graph[name].union(*(reached(target) for target in graph[name]))

    return sorted(
        (name, target)
        for name in graph
        for target in graph[name]
        if not any(target in reached(other) for other in graph[name])
    )


def ordered(rows: list[list[str]], arrows: list[tuple[str, str]]) -> list[list[str]]:
    """Returns the levels with connected subpackages close to each other, so that fewer arrows cross."""
    rows = [list(row) for row in rows]
    for _ in range(8):
        place = {name: column - (len(row) - 1) / 2 for row in rows for column, name in enumerate(row)}
        for row in rows:
            near = {
                name: [place[b] for a, b in arrows if a == name] + [place[a] for a, b in arrows if b == name]
                for name in row
            }
            row.sort(key=lambda name: (sum(near[name]) / max(len(near[name]), 1), name))
            place.update({name: column - (len(row) - 1) / 2 for column, name in enumerate(row)})
    return rows


def draw() -> str:
    """Returns the picture as SVG, with a box for each subpackage and an arrow for each direct import."""
    beside = {path.stem for path in imports.ROOT.glob("*.py")}
    graph = {name: targets - beside for name, targets in imports.rooms().items() if name not in beside}
    rows = ordered(floors(graph), direct(graph))
    height = TOP + FLOOR * len(rows)
    centers = {}
    for number, row in enumerate(rows):
        left = (WIDTH - len(row) * BOX - (len(row) - 1) * GAP) / 2 + BOX / 2
        for column, name in enumerate(row):
            centers[name] = (left + column * (BOX + GAP), height - FLOOR * (number + 0.5))
    half = HEIGHT_OF_BOX / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#888"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for name, target in direct(graph):
        (x, y), (to_x, to_y) = centers[name], centers[target]
        lines.append(
            f'<path d="M{x:.0f} {y + half:.0f} L{to_x:.0f} {to_y - half - 1:.0f}" stroke="#aaa" fill="none" '
            'marker-end="url(#arrow)"/>'
        )
    for name, (x, y) in sorted(centers.items()):
        fill = "#eceff1" if name.startswith("_") else "#e8eaf6"
        lines.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y - half:.0f}" width="{BOX}" height="{HEIGHT_OF_BOX}" rx="6" '
            f'fill="{fill}" stroke="#5c6bc0"/>'
        )
        lines.append(
            f'<text x="{x:.0f}" y="{y + 5:.0f}" font-size="15" text-anchor="middle" fill="#222">'
            f"{html.escape(name)}</text>"
        )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
