# SPDX-License-Identifier: BSD-3-Clause
"""Which transports have been shown to work with which rings: said by cases as they end, gathered by scripts/check.

A case says a line per pair, "shows RESULT RING TRANSPORT", beside the one of its name.
"""
import re

TRANSPORTS = ("vhost-user", "VDUSE virtio", "VDUSE vhost-vdpa", "CUSE", "virtio PCI UIO", "virtio PCI VFIO")
RINGS = ("split", "packed")
WORDS = {"fail": "FAILED", "ok": "ok", "skip": "skipped"}  # the case's, and the table's; who comes first has the say


def pairs(shows, name):
    """What a case shows: of a transport alone the rings that the case's name tells."""
    named = [ring for ring in RINGS if ring in name.split("_")]
    rows = [(one, ring) for one in shows if isinstance(one, str) for ring in named]
    rows += [one for one in shows if not isinstance(one, str)]
    for transport, ring in rows:
        if transport not in TRANSPORTS or ring not in RINGS:
            raise ValueError(f"{name} shows {transport} with {ring} rings, and nobody knows those")
    return rows


def said(result, rows):
    return "".join(f"shows {result.lower()} {ring} {transport}\n" for transport, ring in rows)


def gathered(text):
    """{(transport, ring): {results}} of what cases have said."""
    found = {}
    for result, ring, transport in re.findall(r"^shows (\S+) (\S+) (.*)$", text, re.M):
        found.setdefault((transport, ring), set()).add(result)
    return found


def table(found):
    """Its lines: "-" is what no case of the run has to do with."""
    rows = [("transport", *RINGS)]
    for transport in TRANSPORTS:
        results = [found.get((transport, ring), ()) for ring in RINGS]
        rows.append((transport, *(next((word for result, word in WORDS.items() if result in one), "-") for one in results)))
    return ["".join(f"{cell:<18}" for cell in row).rstrip() for row in rows]
