"""`python deploy/grafana/make_dashboards.py FOLDER`: write Grafana's dashboards into FOLDER, of what `boards/` says.

A board has rows of panels. A panel has a title, what it is about, a unit of Grafana's, and queries with legends; it may
have a kind (`timeseries`, else `stat`), a width of 24 and thresholds, each a color from a value on.
"""

import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final

import yaml

Json = dict[str, Any]  # Any: YAML and JSON
BOARDS: Final = Path(__file__).with_name("boards")
SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}
WIDTH: Final = 24
HEIGHTS: Final = {"timeseries": 8, "stat": 4}
WIDTHS: Final = {"timeseries": 8, "stat": 4}


def dashboard(board: Json) -> Json:
    """What Grafana reads."""
    return {
        "uid": board["uid"],
        "title": board["title"],
        "description": board["about"],
        "tags": ["payments"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "annotations": {"list": [_alerts()]},
        "templating": {"list": []},
        "links": [
            {"type": "dashboards", "title": "Others", "tags": ["payments"], "asDropdown": True, "keepTime": True}
        ],
        "panels": list(_panels(board["rows"])),
    }


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "enable": True,
        "iconColor": "red",
        "datasource": SOURCE,
        "expr": 'ALERTS{alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{service}}",
    }


def _panels(rows: list[Json]) -> Iterator[Json]:
    ids, y = count(1), 0
    for row in rows:
        at = {"h": 1, "w": WIDTH, "x": 0, "y": y}
        yield {"id": next(ids), "type": "row", "title": row["title"], "collapsed": False, "gridPos": at, "panels": []}
        x, y, height = 0, y + 1, 0
        for panel in row["panels"]:
            kind = panel.get("kind", "timeseries")
            width = panel.get("width", WIDTHS[kind])
            if x + width > WIDTH:
                x, y, height = 0, y + height, 0
            place = {"h": HEIGHTS[kind], "w": width, "x": x, "y": y}
            yield _panel(panel, kind, next(ids), place)
            x, height = x + width, max(height, HEIGHTS[kind])
        y += height


def _panel(panel: Json, kind: str, number: int, place: Json) -> Json:
    return {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "description": panel["about"],
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [_target(letter, query) for letter, query in zip(ascii_uppercase, panel["queries"], strict=False)],
        "fieldConfig": {"defaults": _defaults(panel, kind), "overrides": []},
        "options": _STAT if kind == "stat" else _LINES,
    }


def _target(letter: str, query: Json) -> Json:
    return {"refId": letter, "datasource": SOURCE, "expr": query["expr"].strip(), "legendFormat": query["legend"]}


def _defaults(panel: Json, kind: str) -> Json:
    steps: list[Json] = [{"color": panel.get("color", "green"), "value": None}]
    steps += [{"color": color, "value": value} for color, value in panel.get("thresholds", [])]
    custom = {} if kind == "stat" else {"custom": {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}}
    return {"unit": panel["unit"], "thresholds": {"mode": "absolute", "steps": steps}, **custom}


_STAT: Final[Json] = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "colorMode": "background",
    "graphMode": "area",
    "textMode": "auto",
    "justifyMode": "auto",
    "orientation": "auto",
}
_LINES: Final[Json] = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}


def main(arguments: list[str]) -> int:
    """The exit status: 0 written or current, 2 wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: make_dashboards.py FOLDER\n")
        return 2
    for source in sorted(BOARDS.glob("*.yaml")):
        file = Path(arguments[0]) / f"{source.stem}.json"
        text = json.dumps(dashboard(yaml.safe_load(source.read_text(encoding="utf-8"))), indent=2) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {file.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
