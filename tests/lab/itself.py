#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The lab itself: tests/lab/run hands back what a command says and how it ends, and keeps the machine as it is."""
import hashlib
import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import labguest  # noqa: E402
from guest.cases import Skip, case, expect, main, shared  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run")
BOOT_S = 380  # two boots, on a loaded machine
MIB = 1 << 20


def run(lab, *words, cwd=None):
    """What tests/lab/run says, and how it ends."""
    with open(lab.path("run.log"), "wb") as errors:
        done = subprocess.run([RUN, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=cwd,
                              timeout=BOOT_S + 60)
    if done.returncode == 77:
        with open(lab.path("run.log")) as why:
            raise Skip(why.read().strip().splitlines()[-1])
    return done


def usual_guest():
    return shared("usual", lambda lab: LabGuest(lab).ready())


CASES = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from guest.cases import case, expect, main, shared
from guest.lab import Gone, wait_until
runs = []

def report(lab):
    with open(lab.path("switch.log"), "w") as log:
        log.write("ERROR: AddressSanitizer: heap-use-after-free")

@case
def at_first(lab):
    runs.append(1)
    expect(len(runs) > 1, "for once")

@case
def always(lab):
    wait_until(lambda: False, 0.1, "never")

@case
def ended(lab):
    raise Gone("it ended")

@case
def reported(lab):
    report(lab)
    expect(False, "a wrong value")

@case
def told_by_others(_lab):
    shared("one", report)
    expect(False, "a wrong value")
main()
"""


@case
def a_case_that_fails_runs_once_more_only_where_that_is_asked_for(_lab):
    for_good = ["FAIL ended", "FAIL reported", "FAIL told_by_others"]
    for chances, verdicts in (("1", ["FAIL at_first", "FAIL always"]), ("2", ["unsteady at_first", "ok at_first", "unsteady always", "FAIL always"])):
        done = subprocess.run([sys.executable, "-c", CASES, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))],
                              stdout=subprocess.PIPE, text=True, timeout=60, env={**os.environ, "VIREO_CHANCES": chances})
        said = [f"{word} {name}" for word, name in re.findall(r"^(ok|FAIL|unsteady) +(\w+)", done.stdout, re.M)]
        expect(said == verdicts + for_good and done.returncode == 1, f"{chances}: {said}, status {done.returncode}")


@case
def the_status_and_the_output_are_the_command_s(lab):
    done = run(lab, "--", "sh", "-c", "echo out; echo err >&2; echo 'a  b' >/dev/stderr; printf end; exit 42")
    expect(done.returncode == 42, f"status {done.returncode}")
    expect(done.stdout == b"out\nerr\na  b\nend", f"output {done.stdout!r}")


@case
def a_command_begins_where_it_was_called(lab):
    done = run(lab, "--", "pwd", cwd=lab.folder)
    expect(done.stdout.decode() == os.path.realpath(lab.folder) + "\n", f"output {done.stdout!r}")


@case
def a_command_that_takes_too_long_is_124(lab):
    begin = time.monotonic()
    done = run(lab, "--timeout", "3", "--", "sh", "-c", "echo begun; sleep 1000")
    expect(done.returncode == 124, f"status {done.returncode}")
    expect(done.stdout == b"begun\n", f"output {done.stdout!r}")
    expect(time.monotonic() - begin < BOOT_S, "it went on")


@case
def a_command_that_will_not_end_is_124(lab):
    done = run(lab, "--timeout", "2", "--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    expect(done.returncode == 124, f"status {done.returncode}")


@case
def a_guest_that_dies_is_125_and_its_last_words_are_told(lab):
    for key, words in ("o", "ended with 0"), ("c", "Kernel panic - not syncing: sysrq triggered crash"):
        done = run(lab, "--", "sh", "-c", f"echo {key} >/proc/sysrq-trigger; sleep 1000")
        with open(lab.path("run.log")) as log:
            text = log.read()
        expect(done.returncode == 125 and words in text, f"status {done.returncode}: {text}")


@case
def megabytes_of_output_are_all_there(_lab):
    guest = usual_guest()
    heard = []
    guest.sink = heard.append
    guest.check("seq 1500000; printf '\\036\\036not a mark'", seconds=120)
    output = b"".join(heard)
    expected = b"".join(b"%d\n" % number for number in range(1, 1500001)) + b"\x1e\x1enot a mark"
    expect(len(output) > 10 * MIB and output == expected, f"{len(output)} bytes of {len(expected)}, or others")
    guest.sink = None
    expect(guest.check("echo after").strip() == "after", "the next command's output")


@case
def output_comes_as_it_is_said(_lab):
    guest = usual_guest()
    heard = []
    guest.sink = lambda output: heard.append((time.monotonic(), output))
    guest.check("echo first; sleep 2; echo second")
    guest.sink = None
    expect(b"".join(output for _, output in heard) == b"first\nsecond\n", f"heard {heard}")
    expect(heard[-1][0] - heard[0][0] > 1, "all at once")


@case
def the_machine_s_files_cannot_be_written(_lab):
    guest = usual_guest()
    mark = guest.lab.path("mark")
    for path in ("/etc/vireo-lab", "/usr/vireo-lab", mark, "/run/lab/root" + mark):
        result = guest.run(f"touch {path}")
        expect(result.status and "Read-only" in result.output, f"{path}: {result}")
    guest.run(f"mount -o remount,rw /run/lab/root && touch /run/lab/root{mark}")
    expect(not os.path.exists(mark), "written after all")


@case
def what_a_job_needs_to_write_to_is_in_memory(_lab):
    guest = usual_guest()
    guest.check("for folder in /tmp /var/tmp /run /dev/shm; do echo x >$folder/vireo-lab-word && cat $folder/vireo-lab-word; done")
    for folder in ("/tmp", "/var/tmp", "/run", "/dev/shm"):
        expect(not os.path.exists(folder + "/vireo-lab-word"), f"{folder} is the machine's")


@case
def a_module_that_is_not_there_is_named(lab):
    done = run(lab, "--module", "vireo_none", "--", "true")
    with open(lab.path("run.log")) as log:
        text = log.read()
    expect(done.returncode == 125 and "vireo_none" in text, f"status {done.returncode}: {text}")


@case
def what_a_guest_s_programs_have_counted_comes_out(lab):
    guest, before = usual_guest(), labguest.COUNTS
    guest.check(f"mkdir -p {labguest.COUNTS_INSIDE} && head -c 100000 /dev/urandom >{labguest.COUNTS_INSIDE}/here")
    sum_inside = guest.check(f"sha256sum <{labguest.COUNTS_INSIDE}/here").split()[0]
    try:
        labguest.COUNTS = lab.path("counts")
        os.mkdir(labguest.COUNTS)
        guest.counts_take()
        names = [name for name in os.listdir(labguest.COUNTS) if name.endswith("-here")]
        expect(len(names) == 1, f"{names}")
        with open(os.path.join(labguest.COUNTS, names[0]), "rb") as file:
            sum_outside = hashlib.sha256(file.read()).hexdigest()
    finally:
        labguest.COUNTS = before
    expect(sum_inside == sum_outside, f"{sum_inside} inside, {sum_outside} outside")


if __name__ == "__main__":
    main()
