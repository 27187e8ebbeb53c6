#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`vireoctl metrics`: what a parser of OpenMetrics text, not ours, makes of it, beside what the daemon says."""
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.scsi import Scsid  # noqa: E402
from guest.switch import Switch  # noqa: E402

# The parser of the Prometheus client, of the system's own Python: it knows what the format forbids.
PARSER = """
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
print(json.dumps({"types": {f.name: f.type for f in families}, "silent": [f.name for f in families if not f.documentation],
                  "samples": [[s.name, s.labels, s.value] for f in families for s in f.samples]}))
"""


def metrics(daemon):
    text = daemon.ctl("metrics")
    if subprocess.run(["/usr/bin/python3", "-c", "import prometheus_client"], capture_output=True).returncode:
        raise Skip("there is no python3-prometheus-client")
    done = subprocess.run(["/usr/bin/python3", "-c", PARSER], input=text, capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0, f"it is no OpenMetrics text: {done.stderr[-500:]}")
    found = json.loads(done.stdout)
    expect(not found["silent"], f"without a word of help: {found['silent']}")
    samples = {(name, *sorted(labels.items())): value for name, labels, value in found["samples"]}
    expect(len(samples) == len(found["samples"]), "a sample is told twice")
    return found["types"], samples


@case
def the_switch_s_counters_are_as_in_port_show(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},name=a", "null:n", "loop:l"])
    with Front(lab.path("a")) as front:
        for _ in range(3):
            front.send(text_frame(1, None))
        wait_until(front.drained, 20, "frames pass, and have been counted")
        expect(switch.port("n")["tx_frames"] == 3, "each has")
        switch.ctl("port", "link", "l", "down")
        types, samples = metrics(switch)
        for name in ("a", "n", "l"):
            port = switch.port(name)
            for key, value in port["counters"].items():
                expect(samples[f"vireo_port_{key}_total", ("port", name)] == value, f"{name}: {key}")
                expect(types[f"vireo_port_{key}"] == "counter", f"{key}: {types[f'vireo_port_{key}']}")
            for queue in port["queue_counters"]:
                labels = (("direction", queue["direction"]), ("port", name), ("queue", str(queue["queue"])))
                expect(samples[("vireo_port_queue_frames_total", *labels)] == queue["frames"], f"{name}: {labels}")
            expect(samples["vireo_port_state", ("port", name), ("state", port["state"])] == 1, f"{name}: {port['state']}")
            expect(samples["vireo_port_link_up", ("port", name)] == (name != "l"), f"{name}: its link")
        expect(samples["vireo_port_rx_frames_total", ("port", "a")] == 3, "frames from a")
        expect(samples["vireo_fdb_entries",] == 1 and types["vireo_fdb_entries"] == "gauge", "the database")
        expect(samples["vireo_worker_frames_total", ("worker", "0")] >= 3, "the worker")
    end_well(switch)


@case
def latency_and_bursts_are_histograms(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},name=a", "null:n"])
    with Front(lab.path("a")) as front:
        def sampled():
            for _ in range(200):
                front.send(text_frame(1, None))
            return sum(switch.port("a")["histograms"]["burst_frames"]["counts"]) >= 3
        wait_until(sampled, 60, "some bursts are timed")
        wait_until(front.drained, 20, "all have been taken")
        sent = switch.port("a")["rx_frames"]
        wait_until(lambda: switch.port("n")["tx_frames"] == sent, 20, "all have passed")
        seen = []

        def rests():  # a burst is timed when its frames have passed
            before, told = switch.port("a")["histograms"], metrics(switch)
            seen[:] = *told, before
            return switch.port("a")["histograms"] == before
        wait_until(rests, 20, "nothing is timed any more")
        types, samples, histograms = seen
        for family, key, unit in (("vireo_port_latency_seconds", "latency_ns", 1e9), ("vireo_port_burst_frames", "burst_frames", 1)):
            expect(types[family] == "histogram", f"{family}: {types[family]}")
            told, below = histograms[key], 0
            expect(len(told["counts"]) == len(told["le"]) + 1 and sorted(set(told["le"])) == told["le"], f"{told}")
            buckets = {float(dict(labels)["le"]): value for (name, *labels), value in samples.items() if name == family + "_bucket" and ("port", "a") in labels}
            for bound, count in zip([*told["le"], float("inf")], told["counts"]):
                below += count
                expect(buckets.pop(min(buckets, key=lambda le: abs(le - bound / unit) if bound < float("inf") else -le)) == below, f"{family}: up to {bound}")
            expect(not buckets and samples[family + "_count", ("port", "a")] == below > 0, f"{family}: {below}, {buckets}")
            expect(abs(samples[family + "_sum", ("port", "a")] * unit / told["sum"] - 1) < 0.001, f"{family}: {told['sum']}")
        expect(histograms["burst_frames"]["sum"] == sum(histograms["latency_ns"]["counts"]) < sent, f"{histograms}")
        expect(not sum(switch.port("n")["histograms"]["latency_ns"]["counts"]), "of a port that sends nothing")
        expect("latency: half of the frames from the port within" in switch.ctl("port", "show", "a"), "for people")
        expect("latency:" not in switch.ctl("port", "show", "n"), "of a port that sends nothing")
    end_well(switch)


@case
def disks_and_luns_have_theirs(lab):
    blkd = Blkd(lab)
    blkd.ctl("disk", "add", "d=mem:1M,latency=on")
    blkd.ctl("export", "add", f"vhost-user:{lab.path('e')},disk=d")
    types, samples = metrics(blkd)
    expect(samples["vireo_disk_size_bytes", ("disk", "d")] == 1 << 20 and types["vireo_disk_size_bytes"] == "gauge", f"{samples}")
    expect(samples["vireo_export_reads_total", ("export", "e")] == 0, f"{samples}")
    expect(types["vireo_disk_latency_seconds"] == "summary", f"{types}")
    end_well(blkd)
    scsid = Scsid(lab)
    scsid.ctl("disk", "add", "d=mem:1M")
    expect(metrics(scsid)[1]["vireo_disk_size_bytes", ("disk", "d")] == 1 << 20, "a disk of scsid's")
    end_well(scsid)


if __name__ == "__main__":
    main()
