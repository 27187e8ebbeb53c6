# SPDX-License-Identifier: BSD-3-Clause
"""What Vireo aims at beside its peers, and whether a set of rows gets there. Where nothing was measured, that is what it says."""
import dataclasses
import fnmatch

MIB = 1 << 20
SIZES = ("64", "256", "1518", "imix")


@dataclasses.dataclass
class Target:
    """All rows of these cases, this unit and this peer have `field` <= bound (`least`: >=); or at least this `share` of them."""
    what: str
    case: str  # a pattern
    peer: str  # a pattern; "" for rows without a peer, too
    bound: float
    unit: str = "cycles_per_frame"
    field: str = "ratio"
    share: float = 1.0
    least: bool = False

    def holds_for(self, row):
        return (fnmatch.fnmatchcase(row["case"], self.case) and row["unit"] == self.unit and row[self.field] is not None
                and (not self.peer or fnmatch.fnmatchcase(row["peer_name"] or "", self.peer)))

    def reached(self, value):
        return value >= self.bound if self.least else value <= self.bound

    def judge(self, rows, failed=()):
        """`failed`: names of cases that could not be measured; they count as cells that miss it."""
        found = [row for row in rows if self.holds_for(row)]
        lost = [case for case in failed if any(fnmatch.fnmatchcase(case + more, self.case) for more in ("", "+mbuf"))]
        return Verdict(self, found, [row for row in found if self.reached(row[self.field])], len(found) + len(lost))


@dataclasses.dataclass
class Verdict:
    target: Target
    rows: list
    met_by: list
    cells: int

    @property
    def word(self):
        if not self.rows:
            return "not measured"
        return "met" if len(self.met_by) >= self.target.share * self.cells else "missed"

    @property
    def worst(self):
        return self._first(not self.target.least)

    @property
    def best(self):
        return self._first(self.target.least)

    def _first(self, greatest):
        return (max if greatest else min)(self.rows, key=lambda row: row[self.target.field]) if self.rows else None


def vm2vm(peer, label, bounds):
    return [Target(f"vm2vm against {label}, {size + ' bytes' if size.isdigit() else 'IMIX'}", f"vm2vm/*/{size}/*", peer, bound)
            for size, bound in zip(SIZES, bounds)]


TARGETS = [
    *[Target(f"{kind}, without the peer's packet buffers", f"{kind}/*mergeable", "librte_vhost", 1.0)
      for kind in ("dequeue", "enqueue")],
    *[Target(f"{kind}, with them, in three quarters of the cells", f"{kind}/*+mbuf", "librte_vhost", 0.85, share=0.75)
      for kind in ("dequeue", "enqueue")],
    *vm2vm("testpmd-io", "testpmd io", (0.70, 0.60, 0.50, 0.50)),
    *vm2vm("ovs", "Open vSwitch", (0.45, 0.40, 0.40, 0.40)),
    Target("vm2vm against what memory allows (bench-limit), 1518 bytes", "limit/*/1518/*", "limit", 1.5),
    Target("latency, polling, median, against testpmd", "latency/*/polling/median", "testpmd-io", 1.0, "ns"),
    Target("quiet: median, against our own polling", "quiet/*/median", "vireo-polling", 2.0, "ns"),
    *[Target(f"quiet: CPU at {rate} frames a second", f"quiet/{rate}/cpu", "vireo-polling", bound, "percent", "ours")
      for rate, bound in ((1000, 4), (3000, 9), (10000, 25), (30000, 55))],
    *[Target(f"busy host: {protocol} between two guests, against the bridge", f"guest/*/{protocol}", "bridge", 1.05, "mbit_per_second", least=True)
      for protocol in ("tcp", "udp")],
    Target("scale: 256 idle ports beside two busy ones", "scale/*/ports-256", "vireo-2-ports", 1.05),
    Target("scale: 64k addresses instead of 2", "scale/*/addresses-65536", "vireo-2-addresses", 1.10),
    Target("disk, null: CPU a request, against qemu-storage-daemon", "disk/null/1-queue/*", "qsd", 0.6, "cpu_ns_per_request"),
    Target("disk, null, reads at depth 128, polling: requests per second", "disk/null/1-queue/read/128/polling", "qsd", 2300 / 1650,
           "requests_per_second", least=True),
    Target("disk, a file: CPU a request", "disk/tmpfs/1-queue/*", "qsd", 0.3, "cpu_ns_per_request"),
    Target("disk, a file at depth 32: requests per second", "disk/tmpfs/1-queue/*/32/*", "qsd", 2.5, "requests_per_second", least=True),
    Target("disk, depth 1, a driver that sleeps: median", "disk/*/1-queue/*/1/sleeping/median", "qsd", 0.8, "ns"),
    Target("disk, two queues on two workers: CPU a request, against one", "disk/null/2-queues/*/sleeping", "vireo-1-queue", 1.05, "cpu_ns_per_request"),
    Target("a LUN of vireo-scsid: CPU a request, against a disk of vireo-blkd", "disk/lun/*", "vireo-blkd", 1.25, "cpu_ns_per_request"),
    Target("disk: RSS with ten", "disk/ten/rss", "", 10 * MIB, "bytes", "ours"),
    Target("disk: CPU of ten that are silent", "disk/ten/idle", "", 0.01, "percent", "ours"),
    Target("disk: milliseconds until ten listen", "disk/ten/start", "", 40, "ms", "ours"),
    Target("CPU of ten idle guests", "idle/10", "", 0.5, "percent", "ours"),
    Target("RSS with 2 ports: 10 MiB and 64 KiB a port", "memory/2/rss*", "", 10 * MIB + 2 * 65536, "bytes", "ours"),
    Target("RSS with 128 ports", "memory/128/rss*", "", 10 * MIB + 128 * 65536, "bytes", "ours"),
    Target("hugepages", "memory/*/hugepages*", "", 0, "bytes", "ours"),
    Target("milliseconds until listening", "start/*", "", 50, "ms", "ours"),
]


def bound_of(case, peer):
    """The bound on the ratio of one cell's cycles, or None."""
    row = {"case": case, "unit": "cycles_per_frame", "peer_name": peer, "ratio": 0}
    return next((target.bound for target in TARGETS if target.field == "ratio" and target.holds_for(row)), None)
