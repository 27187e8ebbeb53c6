# SPDX-License-Identifier: BSD-3-Clause
"""latency: nanoseconds from sending one frame at a port of the switch until it is there at the other one, nothing else under way.

latency/RING/SIZE/GAP/MODE/QUANTILE
  GAP        back-to-back: the next frame leaves when the last one has come; 10kpps, 1kpps: 100 us and 1 ms later
  MODE       vireo-switchd's: polling, or adaptive, which sleeps when nothing comes
  QUANTILE   median, p99, p99.9

One process of the front end holds both ports: one clock, and the polling at its end is the same for all. It is one way through the switch;
a round trip is two of them. The peers poll. adaptive has one more row, beside our own polling: what sleeping costs.
"""
from . import cells, peers, report
from .programs import RINGS

MODES = ("polling", "adaptive")
PEERS = ("testpmd-io", "ovs")
SIZES = ("64", "1518")
QUANTILES = {"median": "median_ns", "p99": "p99_ns", "p99.9": "p999_ns"}
GAPS = {  # name: (pause in us, frames of a window, of a quick window)
    "back-to-back": (0, 20000, 5000),
    "10kpps": (100, 5000, 1000),
    "1kpps": (1000, 1000, 200),
}
VERIFY_FRAMES = 1000


class Prober:
    """A switch with bench-front, which sends one frame at a time."""

    def __init__(self, bench, lab, back, settings):
        self.gap_us, full, quick = GAPS[settings["gap"]]
        self.frames = quick if bench.quick else full
        self.side = bench.connect(lab, back, "latency", size=settings["size"], ring=settings["ring"],
                                  options=("--gap-us", str(self.gap_us)))
        self.side.pause()

    def pause(self):
        self.side.pause()

    def resume(self):
        self.side.resume()

    def stop(self):
        self.resume()
        self.side.front.quit()
        self.side.back.stop()

    def ask(self, frames):
        answer = self.side.front.ask(f"latency {frames}", 20 + frames * (self.gap_us + 1000) / 1e6)
        if answer.get("error") or not answer["count"]:
            raise RuntimeError(f"{self.side.back.name}: {answer.get('error') or 'no frame has come through'}")
        return answer

    def measure(self, _bench):
        self.ask(self.frames // 20)  # addresses are learned, caches are warm
        answer = self.ask(self.frames)
        return {name: answer[key] for name, key in QUANTILES.items()}


class Ours:
    """vireo-switchd in both modes, one after the other: two switches, each with its front end."""

    def __init__(self, bench, lab, settings):
        self.probers = {mode: Prober(bench, lab, peers.Switchd(bench, lab, options=(f"--{option}",), name=f"vireo-{option}"), settings)
                        for mode, option in zip(MODES, ("poll", "adaptive"))}

    def pause(self):
        for prober in self.probers.values():
            prober.pause()

    def resume(self):
        """Each in its turn: see measure()."""

    def measure(self, bench):
        values = {}
        for mode, prober in self.probers.items():
            prober.resume()
            values.update({f"{mode}/{name}": value for name, value in prober.measure(bench).items()})
            prober.pause()
        return values


def against(case, pairs, peer):
    """Rows of both modes beside a peer."""
    rows = []
    for mode in MODES:
        for name in QUANTILES:
            rows += report.rows(f"{case.name}/{mode}/{name}", pairs, peer, [("ns", f"{mode}/{name}", name)])
    return rows


def against_ourselves(case, pairs):
    return [report.row(f"{case.name}/adaptive/{name}", "ns", [pair.ours[f"adaptive/{name}"] for pair in pairs],
                       [pair.ours[f"polling/{name}"] for pair in pairs], "vireo-polling", [pair.distance for pair in pairs])
            for name in QUANTILES]


def measure(bench, case):
    rows, pairs = [], []
    with bench.lab() as lab:
        ours = Ours(bench, lab, case.settings)
        for name, backend in (("testpmd-io", peers.Testpmd), ("ovs", peers.Ovs)):
            if bench.has(name):
                peer = Prober(bench, lab, backend(bench, lab), case.settings)
                found = bench.alternate(ours, peer)
                rows += against(case, found, name)
                pairs += found
                peer.stop()  # hugepages do not suffice for all at once
        if not pairs:
            pairs = bench.by_itself(ours)
            rows += [report.row(f"{case.name}/polling/{name}", "ns", [pair.ours[f"polling/{name}"] for pair in pairs]) for name in QUANTILES]
    return rows + against_ourselves(case, pairs)


def verify(bench, case):
    results = []
    backends = [("vireo", peers.Switchd), ("testpmd-io", peers.Testpmd), ("ovs", peers.Ovs)]
    for name, backend in backends:
        if name == "vireo" or bench.has(name):
            with bench.lab() as lab:
                prober = Prober(bench, lab, backend(bench, lab), case.settings)
                prober.resume()
                answer = prober.ask(VERIFY_FRAMES)
                bad = prober.side.front.stats()["bad"]
                results.append((f"{case.name} {name}", f"{bad} frames damaged, {answer['lost']} lost" if bad or answer["lost"] else None))
    return results


def seconds(gap):
    pause_us, frames, _ = GAPS[gap]
    return 12 + 7 * 2 * 3 * (1.05 * frames * (pause_us + 5) / 1e6 + 0.05)


def cases(kind):
    return [cells.Case(f"{kind}/{ring}/{size}/{gap}", "ns", measure, quick=(ring, size) == ("split", "64"), seconds=seconds(gap), peers=PEERS,
                       check=verify, settings={"ring": ring, "size": size, "gap": gap})
            for ring in RINGS for size in SIZES for gap in GAPS]
