# SPDX-License-Identifier: BSD-3-Clause
"""docs/performance.md: written from docs/performance/results.json, which holds the rows and the runs that they come from."""
import datetime
import importlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys

from . import ROOT, cells, measure, plots, report, targets

DOCUMENT = os.path.join(ROOT, "docs", "performance.md")
FOLDER = os.path.join(ROOT, "docs", "performance")
RESULTS = os.path.join(FOLDER, "results.json")
PACKAGES = ("dpdk", "openvswitch-switch-dpdk", "qemu-system-x86", "gcc", "iperf3")
CALLS = ("dequeue", "enqueue", "loop")
PLOT_GROUPS_MAX = 12
PEERS = ("testpmd-io", "testpmd-mac", "ovs")
INTRODUCTION = """\
<!-- Written by bench/compare from docs/performance/results.json: do not edit. -->
# How fast is it, beside its peers

Both sides of each comparison run in turns on the same CPUs: a window of ours, one of the peer's, one of the peer's, one of ours, and
so on. **ratio** is ours / peer, the median of all pairs (minimum..maximum). For cycles, below 1 is better; for frames per second,
above 1. The front end is DPDK's virtio-user for both. **cycles_per_frame** counts the back end's time in which it moved frames: the
calls themselves (`dequeue`, `enqueue`, `loop`), or the turns of its loop that had frames (`vm2vm`; as testpmd's --record-core-cycles
and Open vSwitch's pmd-stats-show count). **ping-pong** is what a cache line costs from one CPU to the other and back, in cycles,
beside each pair: machines with another distance have other figures, and only ratios compare. `+mbuf`: with what librte_vhost's
users pay beside the call for packet buffers. In figures of values, ours is measured beside each peer anew: the bar is the median of
these, the line on it goes from the least to the most, and what belongs together stands in the rows. What each of them does as a
switch, beside how fast it is: [switches.md](switches.md).
VPP is not among the peers: no package of that name is in Debian 11, 12 with its backports, 13 or sid (each one's lists were searched on
29 November 2026), and who measures again has to be able to install what was measured.
"""


# ---- results.json ----

def _say(*argv):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=20, cwd=ROOT)
        return done.stdout.strip()
    except OSError:
        return ""


def _cpu():
    with open("/proc/cpuinfo") as source:
        text = source.read()
    model = re.search(r"model name\s*:\s*(.*)", text)
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} CPUs{', virtual machine' if 'hypervisor' in text else ''}"


def _run(bench):
    """The circumstances of this run."""
    words = [word for word in sys.argv[1:] if word not in ("--merge", "--json")]
    version = {package: _say("dpkg-query", "-W", "-f", "${Version}", package) or "-" for package in PACKAGES}
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"), "cpu": _cpu(),
            "command": " ".join(["bench/compare", *words]),
            "cpus_used": f"{bench.front_cpu} (front end), {bench.back_cpu} (back end)", "kernel": platform.release(),
            "hugepages": "2 MiB" if bench.hugepages else "none (--no-huge)", "versions": version,
            "vireo": _say("git", "describe", "--always", "--dirty", "--tags") or "-"}


def _key(row):
    return row["case"], row["unit"], row["peer_name"]


def load():
    try:
        with open(RESULTS) as source:
            return json.load(source)
    except FileNotFoundError:
        raise measure.Unfit(f"{os.path.relpath(RESULTS)} is not there yet: a full run of bench/compare, or one with --merge, "
                            "writes it") from None


def keep(bench, rows, failed, whole):
    """Stores a run; unless it is the whole, rows of other cases stay."""
    old = {"runs": [], "rows": [], "failed": {}} if whole or not os.path.exists(RESULTS) else load()
    new, number = {_key(row) for row in rows}, len(old["runs"])
    merged = [row for row in old["rows"] if _key(row) not in new] + [{**row, "run": number} for row in rows]
    fine = {row["case"].split("+")[0] for row in rows}
    failed = {**{case: why for case, why in old["failed"].items() if case not in fine}, **failed}
    runs = old["runs"] + [_run(bench)]
    used = sorted({row["run"] for row in merged} | ({number} if failed else set()))
    kinds = list(cells.KINDS)
    merged.sort(key=lambda row: kinds.index(row["case"].split("/")[0]) if row["case"].split("/")[0] in kinds else len(kinds))
    for row in merged:
        row["run"] = used.index(row["run"])
    os.makedirs(FOLDER, exist_ok=True)
    with open(RESULTS, "w") as target:
        head = json.dumps({"runs": [runs[i] for i in used], "failed": failed}, indent=1)[:-2]
        target.write(head + ',\n "rows": [\n  ' + ",\n  ".join(json.dumps(row) for row in merged) + "\n ]\n}\n")


# ---- the document ----

def _table(headings, lines, left=1):
    marks = ["---" if i < left else "---:" for i in range(len(headings))]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in [headings, marks, *lines]) + "\n"


def _bound(goal, value):
    return f"{value:.2f}" if goal.field == "ratio" else f"{report.number(value, goal.unit)} {goal.unit}"


def _targets(rows, failed):
    lines = []
    for verdict in (target.judge(rows, failed) for target in targets.TARGETS):
        goal, field = verdict.target, verdict.target.field
        found = ("-", "-", "-")
        if verdict.rows:
            found = (_bound(goal, verdict.best[field]), f"{_bound(goal, verdict.worst[field])} ({verdict.worst['case']})",
                     f"{len(verdict.met_by)} of {verdict.cells}")
        word = verdict.word if verdict.word == "met" else f"**{verdict.word}**"
        lines.append((goal.what, ("at least " if goal.least else "") + _bound(goal, goal.bound), *found, word))
    return ("## Targets\n\nA target is what we want Vireo to be beside its peers; one that is missed says where work is "
            "left, and no test fails for it.\nComputed from the rows below, in cycles per frame where nothing else is said; a bound without a unit is "
            "one on the ratio ours / peer.\n\n" + _table(("target", "at most", "best cell", "worst cell", "cells that meet it", ""), lines))


def _entry(row):
    return (row["ratio"], row["ratio_min"], row["ratio_max"])


def _group(case):
    _kind, ring, size, *_rest = case.split("/")
    return f"{size}\n" + ring.replace("-", "\n")


def _ratios(kind, rows, peers):
    """One plot of ratios of a kind whose cases are kind/ring/size/option: a bar for each option and peer."""
    rows = [row for row in rows if row["case"].startswith(kind + "/") and row["unit"] == "cycles_per_frame"
            and row["peer_name"] in peers and row["ratio"] is not None]
    groups = list(dict.fromkeys(_group(row["case"]) for row in rows))
    series, bounds = {}, {}
    for row in rows:
        option = row["case"].split("/")[3]
        label = f"{option}, {row['peer_name']}" if len(peers) > 1 else option
        series.setdefault(label, {})[_group(row["case"])] = _entry(row)
        bound = targets.bound_of(row["case"], row["peer_name"])
        if bound and "+mbuf" not in option:
            bounds[_group(row["case"])] = bound
    return groups, sorted(series.items()), bounds


def _plot(name, title, axis, groups, series, bounds=None):
    """Draws, and returns the line that shows it; nothing for nothing."""
    if not groups:
        return ""
    plots.bars(os.path.join(FOLDER, name + ".svg"), title, axis, groups, series, bounds)
    return f"![{title}](performance/{name}.svg)\n\n"


def _latencies(rows):
    """A plot for each ring and percentile: those of one ring lie apart by a factor of a thousand."""
    names = [row["case"].split("/") for row in rows]
    return "".join(_values("latency", "ns", [row for row, name in zip(rows, names) if name[5] == quantile], f"{ring}/", f"/{quantile}")
                   for ring in dict.fromkeys(name[1] for name in names) for quantile in dict.fromkeys(name[5] for name in names))


def _plots_of(kind, rows):
    if kind in CALLS:
        return _plot(kind, f"{kind}: cycles per frame, ours / librte_vhost", "ratio", *_ratios(kind, rows, ("librte_vhost",)))
    if kind == "vm2vm":
        return "".join(_plot(f"vm2vm-{peer}", f"vm2vm: cycles per frame, ours / {peer}", "ratio", *_ratios(kind, rows, (peer,)))
                       for peer in PEERS)
    if kind == "latency":
        return _latencies(rows)
    return "".join(_values(kind, unit, rows) for unit in dict.fromkeys(row["unit"] for row in rows))


def _values(kind, unit, rows, under="", end=""):
    """Ours and the peers' values themselves, of cases that begin and end so; more than one plot where there are many cases."""
    start = f"{kind}/{under}"
    rows = [row for row in rows if row["unit"] == unit and row["case"].startswith(start)]
    if not any(row["ours"] or row["peer"] for row in rows):
        return ""  # nobody has lost anything
    names = list(dict.fromkeys(row["case"][len(start):].removesuffix(end) for row in rows))
    if len(names) > PLOT_GROUPS_MAX and all("/" in name for name in names):
        parts = dict.fromkeys(name.split("/")[0] for name in names)
        return "".join(_values(kind, unit, rows, f"{under}{part}/") for part in parts)
    label = {name: name.replace("/", "\n").replace("-", "\n") for name in names}
    series, ours = {"vireo": {}}, {}
    for row in rows:
        group = label[row["case"][len(start):].removesuffix(end)]
        ours.setdefault(group, []).append(row["ours"])
        series["vireo"][group] = (statistics.median(ours[group]), min(ours[group]), max(ours[group]))
        if row["peer"] is not None:
            series.setdefault(row["peer_name"], {})[group] = (row["peer"],) * 3
    title = start.rstrip("/") + end
    return _plot(f"{title.replace('/', '-')}-{unit}", f"{title}: {unit}", unit, list(label.values()), list(series.items()))


def _kind(kind, rows):
    """One section. The module that measures a kind says in its first lines what it is."""
    document = importlib.import_module("." + cells.KINDS[kind], __package__).__doc__
    lines = [(*report.cells(row), row["run"] + 1) for row in rows]
    return (f"## {kind}\n\n{document.split(chr(10) + chr(10))[0].strip()}\n\n{_plots_of(kind, rows)}"
            f"<details><summary>{len(rows)} rows</summary>\n\n{_table((*report.HEADINGS, 'run'), lines, left=2)}\n</details>\n")


def _runs(runs):
    lines = []
    for number, run in enumerate(runs, 1):
        versions = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
        lines.append(f"{number}. {run['date']}: `{run['command']}` at {run['vireo']} on {run['cpu']}; CPUs {run['cpus_used']}; "
                     f"kernel {run['kernel']}; hugepages: {run['hugepages']}; {versions}")
    return ("## Where this comes from\n\n`make bench` installs the peers, builds, and measures everything anew; `bench/compare CASE...` "
            "a part of it, with `--merge` into this page.\nInstead of measuring, `bench/compare --verify` checks each frame from end to "
            "end.\n\n" + "\n".join(lines) + "\n")


def _missing(failed):
    if not failed:
        return ""
    return "## Not measured\n\n" + _table(("case", "why"), sorted(failed.items()), left=2) + "\n"


def render():
    """Writes the document and its plots."""
    results = load()
    rows = results["rows"]
    for name in os.listdir(FOLDER):
        if name.endswith(".svg"):
            os.unlink(os.path.join(FOLDER, name))
    parts = [INTRODUCTION, _targets(rows, results["failed"]), _missing(results["failed"])]
    for kind in cells.KINDS:
        of_kind = [row for row in rows if row["case"].split("/")[0] == kind]
        parts.append(_kind(kind, of_kind) if of_kind else f"## {kind}\n\nNot measured.\n")
    parts.append(_runs(results["runs"]))
    with open(DOCUMENT, "w") as target:
        target.write("\n".join(part for part in parts if part))
    print(f"compare: wrote {os.path.relpath(DOCUMENT)} from {len(rows)} rows", file=sys.stderr)
