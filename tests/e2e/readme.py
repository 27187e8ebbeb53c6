#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What stands in README.md, in the man pages' examples and at the end of `make demo` is run as it stands. Only /tmp,
/run, /srv and /var become folders of the test, and what needs hardware, or changes the machine, is named in LEFT_OUT."""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "demo"))

import attach  # noqa: E402
from guest.cases import Skip, case, case_for, expect, main, need_program  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import program  # noqa: E402

LEFT_OUT = ("modprobe", "vireoctl pci", "vireoctl port add virtio-pci:", "vireoctl port remove uplink", "vduse:host0",
            "packet:far0")  # interfaces.py sends to one
MACHINE = "-S -M q35,accel=tcg -display none -nodefaults -no-user-config"  # what "..." stands for: a machine that never runs
NOBODY = 65534
SECONDS = 30
LISTED = {"vireo-switchd": "port", "vireo-blkd": "export", "vireo-scsid": "export"}  # what a front end connects to


class Shell:
    """Runs command lines in a folder of its own, as `user` (None: as who we are)."""

    def __init__(self, lab, user=None):
        self.lab, self.user, self.control, self.daemon = lab, user, None, None
        os.chmod(lab.folder, 0o755)
        for name in ("tmp", "run/vireo", "srv", "var/lib/vireo/scsi"):
            os.makedirs(lab.path(name), exist_ok=True)
            os.chmod(lab.path(name), 0o777)
        for name in (*LISTED, "vireoctl", "vireo-bench"):
            folder = lab.path(f"build/apps/{name}")
            os.makedirs(folder)
            shutil.copy(program(name), folder)
        self.env = {**os.environ, "PATH": ":".join([lab.path(f"build/apps/{name}") for name in os.listdir(lab.path("build/apps"))]
                                                   + [os.environ["PATH"]]), "XDG_RUNTIME_DIR": lab.path("run/vireo")}
        self.identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}

    def place(self, text):
        return re.sub(r"(?<![\w/])/(tmp|run|srv|var)/", lambda found: self.lab.path(found.group(1)) + "/", text)

    def argv(self, line):
        words = shlex.split(self.place(line.replace("...", MACHINE)).rstrip("&"))
        name = os.path.basename(words[0])
        if name in LISTED and "--control" not in words:
            words += ["--control", self.lab.path(f"run/vireo/{len(os.listdir(self.lab.path('run/vireo')))}")]
        if name in LISTED:
            self.control, self.daemon = words[words.index("--control") + 1], name
        if name == "vireoctl" and "-s" not in words:
            words[1:1] = ["-s", self.control]
        return words

    def start(self, line):
        return self.lab.start(self.argv(line), log=f"{time.monotonic_ns()}.log", cwd=self.lab.folder, env=self.env, **self.identity)

    def done(self, line, seconds=SECONDS):
        argv = self.argv(line)
        pipe = argv.index("|") if "|" in argv else len(argv)
        ended = subprocess.run(argv[:pipe], cwd=self.lab.folder, env=self.env, timeout=seconds, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, **self.identity)
        expect(ended.returncode == 0, f"{line}: {ended.returncode}: {ended.stdout.strip()}")
        return ended.stdout

    def ports(self):
        """{name: state}, of exports as well."""
        what = LISTED[self.daemon]
        said = json.loads(self.done(f"vireoctl --daemon {self.daemon.removeprefix('vireo-')} --json {what} list"))
        return {port["name"]: port["state"] for port in said[what + "s"]}

    def run(self, line):
        """One line, as whoever reads it would: what does not end by itself goes on in the background."""
        name = os.path.basename(line.split()[0])
        if name in LISTED:
            child = self.start(line)
            wait_until(lambda: "ready:" in open(child.log).read(), SECONDS, f"{line} is ready", child=child)
        elif name.startswith("qemu-system"):
            need_program(name)
            child = self.start(line)
            wait_until(lambda: set(self.ports().values()) - {"listening"}, SECONDS, f"{line} is connected", child=child)
            self.lab.kill(child)
        elif line.rstrip().endswith(" top"):
            child = self.start(line)
            wait_until(lambda: "vm1" in open(child.log).read(), SECONDS, "top shows vm1", child=child)
            self.lab.kill(child)
        else:
            self.done(line)


    def files(self, *names):
        """Disks of a machine, with nothing on them."""
        for name in names:
            with open(self.lab.path("srv/" + name), "wb") as file:
                file.truncate(1 << 30)


def joined(lines):
    """Command lines, of lines that go on after a backslash."""
    text = re.sub(r"\\e?\n\s*", " ", "\n".join(lines))
    return [line for line in text.split("\n") if line.strip()]


def left_out(line):
    return any(word in line for word in LEFT_OUT)


def readme_blocks():
    text = open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()
    return [block.split("\n") for block in re.findall(r"^```\n(.*?)^```", text, re.S | re.M)]


def man_blocks(page):
    text = open(os.path.join(ROOT, "man", page), encoding="utf-8").read()
    examples = text[text.index(".Sh EXAMPLES"):text.index(".Sh SEE ALSO")]
    return [block.strip("\n").split("\n") for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", examples, re.S | re.M)]


def need_root():
    if os.geteuid():
        raise Skip("only root can be another user")


def need_reach(user):
    """A machine whose root folder is root's alone, as a jail's may be, lets nobody else run anything."""
    try:
        subprocess.run(["/bin/true"], user=user, check=True)
    except PermissionError:
        raise Skip("another user can reach no program here") from None


@case_for({"as_we_are": (None,), "as_nobody": (NOBODY,)}, "the_readme_in_short_works_{}")
def the_readme_in_short_works(lab, user):
    if user is not None:
        need_root()
        need_reach(user)
    shell = Shell(lab, user)
    blocks = [block for block in readme_blocks() if any("qemu-system" in line for line in block)]
    expect(len(blocks) == 1, "one block of README.md is the whole way")
    for line in joined(blocks[0]):
        shell.run(line)


@case
def the_other_doors_of_the_readme_are_ports(lab):
    """Each is refused for what this machine lacks at most, never for how it is written."""
    doors = [line.split("#")[0] for block in readme_blocks() for line in block if line.startswith("--port ")]
    expect(len(doors) >= 4, f"README.md has other doors: {doors}")
    for door in doors:
        config = lab.path("config")
        with open(config, "w", encoding="utf-8") as file:
            file.write(door.strip().removeprefix("--") + "\nworkers none\n")  # the second line is refused, and nothing starts
        said = subprocess.run([program("vireo-switchd"), "--config", config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=SECONDS, check=False)
        expect(said.returncode == 2 and ":2:" in said.stdout, f"{door}: {said.stdout}")


@case
def the_examples_of_vireo_switchd_work(lab):
    shell = Shell(lab)
    for line in joined(man_blocks("vireo-switchd.8")[0]):
        shell.run(line)


@case
def the_examples_of_vireo_bench_work(lab):
    shell = Shell(lab)
    blocks = man_blocks("vireo-bench.1")
    expect(len(blocks) >= 3, "vireo-bench(1) has examples")
    for line in (line for block in blocks for line in joined(block) if not left_out(line)):
        # A loaded machine may lose frames at any rate: that is not what is written there.
        shell.run(line.replace("--no-loss ", "") + (" --seconds 1" if line.startswith("vireo-bench") else ""))


@case
def the_examples_of_vireoctl_work(lab):
    shell = Shell(lab)
    shell.run("vireo-switchd --port vhost-user:/tmp/vm1.sock")
    for line in (line for block in man_blocks("vireoctl.1") for line in joined(block)):
        if not left_out(line):
            shell.run(line)
    expect(set(shell.ports()) == {"vm1", "vm3"}, shell.ports())


@case
def the_examples_of_vireo_blkd_work(lab):
    """The page speaks of a second disk and of worker 2, too."""
    shell = Shell(lab)
    shell.files("vm1.img")
    for line in (line for block in man_blocks("vireo-blkd.8") for line in joined(block)):
        shell.run(line + (" --disk scratch=mem:1M --workers 3" if line.startswith("vireo-blkd") else ""))


@case
def the_examples_of_vireo_scsid_work(lab):
    shell = Shell(lab)
    shell.files("vm1.img", "data.img", "more.img", "quorum.img")
    for line in (line for block in man_blocks("vireo-scsid.8") for line in joined(block)):
        shell.run(line)


@case
def no_page_has_examples_that_are_not_run(lab):
    run = {"vireo-bench.1", "vireo-blkd.8", "vireo-scsid.8", "vireo-switchd.8", "vireo-switchd.conf.5", "vireoctl.1"}
    for page in os.listdir(os.path.join(ROOT, "man")):
        with open(os.path.join(ROOT, "man", page), encoding="utf-8") as file:
            expect(".Sh EXAMPLES" not in file.read() or page in run, f"{page} has examples: run them here")


@case
def the_config_file_in_its_page_works(lab):
    need_root()
    if not os.path.exists("/dev/net/tun"):
        raise Skip("no /dev/net/tun")
    shell = Shell(lab)
    text = shell.place("\n".join(man_blocks("vireo-switchd.conf.5")[0])).replace("libvirt", "nogroup")
    cpus = os.sched_getaffinity(0)
    if not {2, 3} <= cpus:  # those of the page; a list of one ends in a comma
        text = text.replace("2-3", ",".join(map(str, sorted(cpus)[:2])) + "," * (len(cpus) == 1))
    with open(lab.path("config"), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    child = lab.start(["unshare", "-n", program("vireo-switchd"), "--config", lab.path("config"), "--control",
                       lab.path("run/vireo/control")], log="switchd.log")
    wait_until(lambda: "ready: 3 ports" in open(child.log).read(), SECONDS, "the config file is taken", child=child)


def parts(kvm):
    """(command lines for a shell, QEMU's options, XML) of what make demo prints."""
    text = attach.text("", "vireo-switchd", "vireoctl", kvm)
    blocks = re.findall(r"(?:^    .*\n)+", text, re.M)
    commands = joined(line[4:] for line in blocks[0].rstrip().split("\n"))
    return commands, " ".join(blocks[1].split()), "".join(blocks[2:])


@case_for({"with_kvm": (True,), "without_kvm": (False,)}, "what_the_demo_prints_{}_works")
def what_the_demo_prints_works(lab, kvm):
    commands, options, xml = parts(kvm)
    shell = Shell(lab)
    for line in commands:
        shell.run(line)
    shell.run(f"qemu-system-x86_64 {MACHINE} {options}")
    domain = ET.fromstring("<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>n</name>"
                           "<memory unit='GiB'>1</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>"
                           + re.sub(r"<interface.*</interface>", r"<devices>\g<0></devices>", xml.replace("...", ""), flags=re.S)
                           + "</domain>")
    domain_is_as_the_command_line(domain, options)
    if shutil.which("virt-xml-validate"):
        with open(lab.path("domain.xml"), "wb") as file:
            file.write(ET.tostring(domain))
        done = subprocess.run(["virt-xml-validate", lab.path("domain.xml"), "domain"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=SECONDS, check=False)
        expect(done.returncode == 0, done.stdout)


def domain_is_as_the_command_line(domain, options):
    interface = domain.find("devices/interface")
    source = interface.find("source")
    expect(f"path={source.get('path')}," in options and source.get("mode") == "client", "the socket is another")
    expect(f"reconnect={source.find('reconnect').get('timeout')} " in options, "it is connected to anew otherwise")
    expect(f"mac={interface.find('mac').get('address')}" in options, "the address is another")
    expect("share=on" in options and domain.find("memoryBacking/access").get("mode") == "shared", "memory is not shared")
    space = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    overrides = {device.get("alias"): device.find(f"{space}frontend/{space}property").attrib for device in domain.iter(f"{space}device")}
    alias = interface.find("alias")
    expect(("vectors=0" in options) == (alias is not None) == bool(overrides), "vectors=0 is said in one of both")
    if overrides:
        expect(overrides == {alias.get("name"): {"name": "vectors", "type": "unsigned", "value": "0"}}, overrides)


if __name__ == "__main__":
    main()
