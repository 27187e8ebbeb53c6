# SPDX-License-Identifier: BSD-3-Clause
"""Rows: what a case has found, as JSON and as a table."""
import json
import statistics

DIGITS = {"cycles_per_frame": 1, "frames_per_second": 0, "ns": 0, "bytes": 0, "percent": 2, "ms": 1, "mbit_per_second": 0,
          "requests_per_second": 0, "cpu_ns_per_request": 0}


def row(case, unit, ours, peer=None, peer_name=None, pingpong=()):
    """One row of the report from the values of all pairs: medians, and the ratio ours / peer of each pair."""
    ratios = [a / b for a, b in zip(ours, peer) if b] if peer else []
    return {
        "case": case, "unit": unit, "ours": _median(ours, 3), "peer": _median(peer, 3), "peer_name": peer_name,
        "ratio": _median(ratios, 4), "ratio_min": round(min(ratios), 4) if ratios else None,
        "ratio_max": round(max(ratios), 4) if ratios else None, "pairs": len(ours),
        "pingpong_cycles": [round(value, 1) for value in pingpong],
    }


def _median(values, digits):
    return round(statistics.median(values), digits) if values else None


def rows(case, pairs, peer_name=None, units=("cycles_per_frame", "frames_per_second")):
    """Rows of one comparison, one for each unit; (unit, of ours, of the peer) where the pairs have other names for it."""
    found = []
    for entry in units:
        unit, ours, peer = entry if isinstance(entry, tuple) else (entry, entry, entry)
        found.append(row(case, unit, [pair.ours[ours] for pair in pairs], [pair.peer[peer] for pair in pairs if pair.peer],
                         peer_name, [pair.distance for pair in pairs]))
    return found


def number(value, unit):
    if value is None:
        return "-"
    return f"{value:,.{DIGITS.get(unit, 2)}f}".replace(",", " ")


def ratio(entry):
    if entry["ratio"] is None:
        return "-"
    return f"{entry['ratio']:.2f} ({entry['ratio_min']:.2f}..{entry['ratio_max']:.2f})"


def distance(entry):
    values = entry["pingpong_cycles"]
    return f"{min(values):.0f}..{max(values):.0f}" if values else "-"


HEADINGS = ("case", "unit", "ours", "peer", "peer is", "ratio (min..max)", "pairs", "ping-pong")


def cells(entry):
    """The texts of one row, in the order of HEADINGS."""
    return (entry["case"], entry["unit"], number(entry["ours"], entry["unit"]), number(entry["peer"], entry["unit"]),
            entry["peer_name"] or "-", ratio(entry), str(entry["pairs"]), distance(entry))


def table(entries):
    lines = [HEADINGS, *[cells(entry) for entry in entries]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    left = {0, 1, 4}

    def one(line):
        return "  ".join(text.ljust(width) if i in left else text.rjust(width)
                         for i, (text, width) in enumerate(zip(line, widths))).rstrip()

    return "\n".join(map(one, lines))


def as_json(entries):
    return json.dumps(entries, indent=1)
