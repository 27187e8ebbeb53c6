# SPDX-License-Identifier: BSD-3-Clause
"""A Prometheus that scrapes our servers, and what Grafana would ask it for a dashboard."""
import json
import os
import re
import shutil
import urllib.parse
import urllib.request

from .cases import Skip, expect
from .lab import wait_until

SCRAPE_S = 1
RATE = "15s"  # what Grafana has for $__rate_interval: four scrapes, and more for a machine that is busy elsewhere

CONFIG = """\
global: {{scrape_interval: {seconds}s, scrape_timeout: {seconds}s, evaluation_interval: {seconds}s}}
rule_files: [{rules}]
scrape_configs:
{jobs}"""


class Prometheus:
    """`jobs`: a job's name and the port of 127.0.0.1 that it scrapes."""

    def __init__(self, lab, jobs, rules):
        program = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
        if not program:
            raise Skip("Prometheus is not installed: make page")
        jobs = "".join(f"  - {{job_name: {name}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n" for name, port in jobs.items())
        with open(lab.path("prometheus.yml"), "w") as file:
            file.write(CONFIG.format(seconds=SCRAPE_S, rules=rules, jobs=jobs))
        argv = [program, f"--config.file={lab.path('prometheus.yml')}", f"--storage.tsdb.path={lab.path('prometheus')}", "--web.listen-address=127.0.0.1:0"]
        self.child = lab.start(argv, log="prometheus.log", cwd=lab.folder)
        self.url = f"http://127.0.0.1:{wait_until(self._port, 60, 'Prometheus listens', child=self.child)}"

    def _port(self):
        """It answers 503 from when it listens until it is ready."""
        with open(self.child.log) as log:
            said = log.read()
        found = re.search(r'Listening on" address=127\.0\.0\.1:([0-9]+)', said)
        return found and "Server is ready to receive web requests" in said and found[1]

    def ask(self, path, **words):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}", timeout=30) as answer:
            said = json.load(answer)
        expect(said["status"] == "success", f"{path} {words}: {said}")
        return said["data"]

    def query(self, expr):
        """[labels, value] of each series; NaN is nothing, as a panel shows it."""
        data = self.ask("query", query=expr)
        expect(data["resultType"] == "vector", f"{expr}: {data['resultType']}")
        return [(series["metric"], float(series["value"][1])) for series in data["result"] if series["value"][1] != "NaN"]

    def label_values(self, query):
        """As Grafana has a variable's values by label_values(SELECTOR, LABEL)."""
        selector, label = re.fullmatch(r"label_values\((.+), *([a-z_]+)\)", query).groups()
        return self.ask(f"label/{label}/values", **{"match[]": selector})


def filled_in(expr, variables):
    """`expr` with Grafana's variables: a list is one of several values that were chosen."""
    for name, value in {**variables, "__rate_interval": RATE}.items():
        text = value if isinstance(value, str) else "(" + "|".join(map(re.escape, value)) + ")"
        text = text.replace("\\", "\\\\")  # it stands in quotes
        expr = re.sub(rf"\$\{{?{name}\b\}}?", lambda _, text=text: text, expr)
    expect("$" not in expr, f"a variable that the dashboard has not: {expr}")
    return expr
