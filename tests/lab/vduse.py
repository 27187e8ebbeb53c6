#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""VDUSE against the kernel's own drivers: virtio_net on virtio_vdpa, DPDK's virtio-user on vhost_vdpa, and daemons that are killed."""
import os
import re
import shlex
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402
from guest.switch import build_folder, program  # noqa: E402

MODULES = ["virtio_net", "vduse", "virtio_vdpa", "vhost_vdpa"]
MACS = {"h0": "52:54:00:00:1b:00", "h1": "52:54:00:00:1b:01"}
RINGS = {"split": ("off",), "packed": ("on",)}
KILLS = 10
ROUNDS = int(os.environ.get("VIREO_ROUNDS", 2))  # hand-overs
CTL = f"timeout 60 {program('vireoctl')}"
MANY_S = 280  # an emulated machine, on a loaded one

# The daemon in the guest; its interfaces move to network namespaces of the device's name. What is left of a call is for the next.
PRELUDE = """set -e
box=/run/lab/busybox
start() { $switch >>/tmp/switchd.log 2>&1 & echo $! >/tmp/switchd.pid; }
stop() { kill "$1" $(cat /tmp/switchd.pid); while [ -e /proc/$(cat /tmp/switchd.pid)/exe ]; do sleep 0.1; done; }
appears() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 300 ] || { cat /tmp/switchd.log; exit 1; }; sleep 0.1; done; }
named() { grep -l "$1" /sys/class/net/*/address; }
inside() { n=$1; shift; ip netns exec $n "$@"; }
settle() { # DEVICE MAC ADDRESS
	appears named $2
	interface=$(basename $(dirname $(named $2)))
	mkdir -p /run/netns; [ -e /run/netns/$1 ] || ip netns add $1
	ip link set $interface netns $1 name eth0
	inside $1 sh -c "ip addr add $3/24 dev eth0; ip link set eth0 up"
}
ping() { inside $1 $box ping -c $3 -w 60 $2; }
pings() { # NAMESPACE ADDRESS: some get lost, such as what waited in a ring that the switch has begun before its receiver's
	tries=0; until inside $1 $box ping -c 1 -W 2 $2; do tries=$((tries + 1)); [ $tries -lt 15 ] || exit 1; done
}
pause() { sleep $(printf %d.%03d $(($1 * $(od -An -N1 -tu1 /dev/urandom) / 256)) $(($(od -An -N2 -tu2 /dev/urandom) % 1000))); }
flood() { # UDP both ways, until unflood. A function in the background would be a shell, and outlive its kill
	ip netns exec h0 python3 /tmp/udp.py flood 10.7.0.2 & floods=$!
	ip netns exec h1 python3 /tmp/udp.py flood 10.7.0.1 & floods="$floods $!"
}
unflood() { kill $floods; wait $floods || true; }
talk() { # 600 datagrams each way, each answered: more than two laps of each ring
	ip netns exec h1 python3 /tmp/udp.py answer & answering=$!
	inside h0 python3 /tmp/udp.py ask 10.7.0.2 600
	kill $answering; wait $answering || true
	ip netns exec h0 python3 /tmp/udp.py answer & answering=$!
	inside h1 python3 /tmp/udp.py ask 10.7.0.1 600
	kill $answering; wait $answering || true
}
absent() { if grep -E "$@"; then echo "^ in it: $*"; exit 1; fi; } # what follows a ! never ends a script, whatever set -e says
complaints() {
	absent -i 'broken|error|refused|given it up|lost|does not let go' /tmp/switchd.log
	dmesg >/tmp/dmesg
	absent 'BUG:|WARNING:|NETDEV WATCHDOG|Oops|blocked for more' /tmp/dmesg
}
sent() { # PAUSE KIB: 10 MiB from h0 to h1, a part at a time
	inside h1 python3 -c '
import socket
there = socket.create_server(("", 5000)).accept()[0]
with open("/tmp/got", "wb") as got:
	while data := there.recv(1 << 16):
		got.write(data)
' & listener=$!
	until inside h1 grep -q :1388 /proc/net/tcp; do sleep 0.1; done
	inside h0 python3 -c '
import socket, sys, time
there = socket.create_connection(("10.7.0.2", 5000))
data, part = open("/tmp/data", "rb").read(), int(sys.argv[2]) << 10
for begin in range(0, len(data), part):
	there.sendall(data[begin:begin + part])
	time.sleep(float(sys.argv[1]))
' $1 $2
	wait $listener
	cmp /tmp/data /tmp/got
}
"""
# A frame may be lost with a daemon; a queue that stands still answers nobody.
UDP = """import socket, sys, time
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def flood(address):
	here.connect((address, 7001))
	while True:
		try:
			for size in 64, 1400, 200, 700:
				here.send(bytes(size))
		except OSError:
			pass
		time.sleep(0.002)
def answer():
	here.bind(("", 7000))
	while True:
		data, peer = here.recvfrom(2048)
		here.sendto(data, peer)
def ask(address, count):
	here.connect((address, 7000))
	here.settimeout(0.5)
	for number in range(int(count)):
		for tries in range(60):
			try:
				here.send(b"%8d" % number)
				while here.recv(2048) != b"%8d" % number:
					pass
				break
			except OSError:
				time.sleep(0.05)
		else:
			sys.exit(f"nobody answers datagram {number}")
globals()[sys.argv[1]](*sys.argv[2:])
"""


def guest_with(lab, ports, modules=tuple(MODULES), **keywords):
    """A guest and the head of each command in it."""
    guest = LabGuest(lab, modules=modules, **keywords).ready()
    argv = [program("vireo-switchd"), "--log-level", "debug"]
    for port in ports:
        argv += ["--port", port]
    guest.check(f"printf %s {shlex.quote(UDP)} >/tmp/udp.py")
    return guest, f"switch={shlex.quote(shlex.join(argv))}\n{PRELUDE}"


def settled(lab, packed):
    """Two interfaces of the kernel's own, each in a namespace."""
    guest, head = guest_with(lab, [f"vduse:{name},mac={mac},packed={packed},speed=2500M/full" for name, mac in MACS.items()])
    guest.check(f"""{head}start
settle h0 {MACS["h0"]} 10.7.0.1
settle h1 {MACS["h1"]} 10.7.0.2
ping h0 10.7.0.2 3
dd if=/dev/urandom of=/tmp/data bs=1M count=10 2>/dev/null""", MANY_S)
    return guest, head


@case_for(RINGS, "kernels_interfaces_talk_with_and_without_offloads_over_{}_rings", shows=["VDUSE virtio"])
def kernels_interfaces_talk(lab, packed):
    need_program("ethtool")
    guest, head = settled(lab, packed)
    guest.check(f"""{head}sent 0 1024
for n in h0 h1; do inside $n ethtool -K eth0 tx off rx off tso off gso off gro off; done
sent 0 1024
for n in h0 h1; do inside $n ethtool -K eth0 tx on rx on tso on gso on gro on; done
sent 0 1024
talk
[ "$(inside h0 cat /sys/class/net/eth0/speed /sys/class/net/eth0/duplex | xargs)" = "2500 full" ]
[ "$({CTL} port link h0 down)" = "h0: link down" ]
appears inside h0 grep -q 0 /sys/class/net/eth0/carrier
[ "$({CTL} port link h0 up)" = "h0: link up" ]
appears inside h0 grep -q 1 /sys/class/net/eth0/carrier
pings h0 10.7.0.2
complaints""", MANY_S)
    guest.check(f"""{head}stop -TERM
[ "$(echo /dev/vduse/*)" = /dev/vduse/control ]
[ "$(echo /sys/class/net/*)" = /sys/class/net/lo ]
[ ! -e /run/vireo/vduse-h0 ]
complaints""", MANY_S)


@case_for(RINGS, "killed_under_traffic_it_goes_on_over_{}_rings", shows=["VDUSE virtio"])
def killed_under_traffic_it_goes_on(lab, packed):
    guest, head = settled(lab, packed)
    killed = guest.run(f"""{head}flood
sent 0.05 16 & transfer=$!
for kill in $(seq {KILLS}); do
	pause 1
	stop -KILL
	start
	pings h1 10.7.0.1
done
wait $transfer
unflood
complaints
[ $(grep -c 'its driver goes on' /tmp/switchd.log) = {2 * KILLS} ]""", MANY_S)
    log = guest.check("cat /tmp/switchd.log")
    expect(killed.status == 0, f"{KILLS} times kill -9: {killed.output[-1500:]}\n{log[-3000:]}")
    guest.check(f"{head}talk", MANY_S)


# The kernel has the device meanwhile, its queues and its driver: to interfaces it is a pause.
@case
def a_successor_opens_its_devices_anew(lab):
    guest, head = settled(lab, "off")
    took = f"{shlex.quote(program('vireo-switchd'))} --log-level debug --takeover"
    refused = guest.run(f"{took} 2>&1")
    expect(refused.status and "its type is vduse; --reopen" in refused.output, refused)
    done = guest.run(f"""{head}for n in h0 h1; do inside $n cat /sys/class/net/eth0/ifindex; done >/tmp/numbers
flood
for upgrade in $(seq {ROUNDS}); do
	was=$(cat /tmp/switchd.pid)
	{took} --reopen >>/tmp/switchd.log 2>&1 & echo $! >/tmp/switchd.pid
	appears test ! -e /proc/$was/exe
	for n in h0 h1; do appears test $(grep -c "$n: opened anew" /tmp/switchd.log) -ge $upgrade; done
	pings h1 10.7.0.1
done
unflood
pings h0 10.7.0.2
ping h0 10.7.0.2 3
for n in h0 h1; do inside $n cat /sys/class/net/eth0/ifindex; done | cmp - /tmp/numbers
absent 'not opened anew' /tmp/switchd.log
[ $(grep -c 'its driver goes on' /tmp/switchd.log) = {2 * ROUNDS} ]
complaints
stop -TERM
[ "$(echo /dev/vduse/*)" = /dev/vduse/control ]""", MANY_S + 20 * ROUNDS)
    log = guest.check("cat /tmp/switchd.log")
    expect(done.status == 0, f"{done.output[-1500:]}\n{log[-3000:]}")
    print("     opened anew " + " ".join(re.findall(r"opened anew, (\d+) ms", log)) + " ms after", flush=True)


@case
def killed_while_it_attaches_it_begins_anew(lab):
    guest, head = guest_with(lab, [f"vduse:{name},mac={mac}" for name, mac in MACS.items()])
    guest.check(f"""{head}for kill in $(seq {KILLS}); do
	start
	pause 2
	stop -KILL
done
>/tmp/switchd.log
start
for n in h0 h1; do appears grep -q "vduse:$n attached" /tmp/switchd.log; done
settle h0 {MACS["h0"]} 10.7.0.1
settle h1 {MACS["h1"]} 10.7.0.2
ping h0 10.7.0.2 3
talk
stop -TERM
[ "$(echo /dev/vduse/*)" = /dev/vduse/control ]""", MANY_S)


# The kernel holds locks while a driver takes a device: whoever wants one of them in the control thread stands still for 30 s.
@case
def ports_come_and_go_while_a_driver_is_being_answered(lab):
    guest, head = guest_with(lab, ["null:n"], modules=[*MODULES, "tun"])
    guest.check(f"""{head}ctl="timeout 20 {program('vireoctl')} port"
start
appears test -S /run/vireo/switchd.sock
for spec in vduse:h0,mac={MACS["h0"]} vduse:h1,mac={MACS["h1"]} tap:t0; do $ctl add $spec; done
settle h0 {MACS["h0"]} 10.7.0.1
settle h1 {MACS["h1"]} 10.7.0.2
ip addr add 10.7.0.3/24 dev t0
ping h0 10.7.0.2 1
$box ping -c 1 -w 20 10.7.0.1
$ctl remove h0 & removing=$!
$ctl remove t0
$ctl add tap:t1
wait $removing
$ctl add vduse:h0,mac={MACS["h0"]} & adding=$!
$ctl remove t1
wait $adding
settle h0 {MACS["h0"]} 10.7.0.1
ping h0 10.7.0.2 1
$ctl remove h0
$ctl add tap:t2
$ctl add vduse:h0,mac={MACS["h0"]}
stop -TERM
[ "$(echo /dev/vduse/*)" = /dev/vduse/control ]
complaints""", MANY_S)


@case
def bounce_pages_lie_in_huge_pages_where_there_are_some(lab):
    guest, head = guest_with(lab, [f"vduse:{name},mac={mac}" for name, mac in MACS.items()])
    guest.check(f"""{head}echo 80 >/proc/sys/vm/nr_hugepages
ulimit -l unlimited
start
settle h0 {MACS["h0"]} 10.7.0.1
settle h1 {MACS["h1"]} 10.7.0.2
ping h0 10.7.0.2 3
[ $(grep -c 'bounce pages lie in huge pages' /tmp/switchd.log) = 2 ]
dd if=/dev/urandom of=/tmp/data bs=1M count=10 2>/dev/null
sent 0 1024
stop -KILL
start
pings h1 10.7.0.1
ping h1 10.7.0.1 3
[ $(grep -c 'bounce pages lie in huge pages' /tmp/switchd.log) = 4 ]
stop -TERM
[ $(sed -n 's/HugePages_Free: *//p' /proc/meminfo) = 80 ]
complaints""", MANY_S)


@case
def an_example_s_network_device_answers_the_kernel_s_pings(lab):
    guest = LabGuest(lab, modules=MODULES).ready()
    guest.check(f"""switch="{build_folder()}/examples/vireo-pong vduse:pong 10.7.0.2"
{PRELUDE}start
appears test -e /sys/bus/vdpa/devices/pong/driver
until interface=$(ls /sys/class/net | grep -v lo); do sleep 0.1; done
ip link set $interface up
ip addr add 10.7.0.1/24 dev $interface
$box ping -c 5 -s 1400 -w 30 10.7.0.2
stop -TERM
[ "$(echo /dev/vduse/*)" = /dev/vduse/control ]
complaints""", MANY_S)


# testpmd answers ARP and pings by itself; it ends when its input does.
TESTPMD = """mkdir -p /tmp/pmd; mkfifo /tmp/pmd.in
RUNTIME_DIRECTORY=/tmp/pmd dpdk-testpmd --lcores 0@0,1@1 --no-huge -m 256 --no-pci --no-telemetry --file-prefix=lab \\
	--vdev=net_virtio_user0,path=/dev/vhost-vdpa-0,mac={mac},queues=1,queue_size=256,packed_vq={packed} \\
	-- -i --total-num-mbufs=4096 --no-flush-rx --rxd=256 --txd=256 --forward-mode=icmpecho --auto-start \\
	</tmp/pmd.in >/tmp/pmd.log 2>&1 &
exec 9>/tmp/pmd.in
sleep 1000 >/tmp/pmd.in &
"""


@case_for({"split": ("off", 0), "packed": ("on", 1)}, "virtio_user_on_vhost_vdpa_over_{}_rings", shows=["VDUSE vhost-vdpa"])
def virtio_user_on_vhost_vdpa(lab, packed, packed_vq):
    need_program("dpdk-testpmd")
    guest, head = guest_with(lab, [f"vduse:h0,mac={MACS['h0']},packed={packed},attach=vhost",
                                   f"vduse:h1,mac={MACS['h1']},packed={packed}"], memory_mib=1536, cpus=2)
    try:
        guest.check(f"""{head}start
settle h1 {MACS["h1"]} 10.7.0.2
appears test -c /dev/vhost-vdpa-0
[ $(basename $(readlink /sys/bus/vdpa/devices/h0/driver)) = vhost_vdpa ]
{TESTPMD.format(mac=MACS["h0"], packed=packed_vq)}
appears grep -q 'Press enter\\|testpmd>' /tmp/pmd.log
ping h1 10.7.0.1 3""", MANY_S)
        guest.check(f"""{head}for kill in 1 2 3; do
	stop -KILL
	start
	pings h1 10.7.0.1
	ping h1 10.7.0.1 2
done
[ $(grep -c 'its driver goes on' /tmp/switchd.log) = 6 ]
complaints""", MANY_S)
        # The program has the device open: nobody can take it off the bus, and who tries hangs, and the host's netlink with it.
        guest.check(f"""{head}begin=$(date +%s)
stop -TERM
[ $(($(date +%s) - begin)) -lt 30 ]
grep -q 'vduse/h0 is in use, and stays for a successor' /tmp/switchd.log
[ ! -x /usr/sbin/vdpa ] || timeout 10 /usr/sbin/vdpa dev show
start
settle h1 {MACS["h1"]} 10.7.0.2
pings h1 10.7.0.1
ping h1 10.7.0.1 2
[ $(grep -c 'its driver goes on' /tmp/switchd.log) = 7 ]
complaints""", MANY_S)
    except Exception:
        print(guest.run("cat /tmp/pmd.log /tmp/switchd.log | tail -n 60").output)
        raise


@case
def what_is_missing_is_told_in_one_line(lab):
    guest = LabGuest(lab).ready()
    for spec, words in ("vduse:h0", "modprobe vduse"), ("vduse:h0,attach=vhost", "modprobe vhost_vdpa"):
        done = guest.run(f"{program('vireo-switchd')} --port {spec} 2>&1")
        lines = done.output.strip().splitlines()
        expect(done.status == 1 and len(lines) == 1 and words in lines[0], f"{spec}: {done}")
        guest.check("modprobe vduse")


if __name__ == "__main__":
    main()
