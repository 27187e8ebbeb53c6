# SPDX-License-Identifier: BSD-3-Clause
"""Load in a guest whose data are looked at: loops that write to a disk, and read back what they have written."""
from .lab import wait_until

BACK_S = 60  # a guest on a loaded machine goes on

# Each writer has a stretch of its own; what it reads back comes from the disk, and not from the guest's memory.
WRITER = """
n=0
while [ ! -e /tmp/stop ]; do
	dd if=/dev/urandom of=/tmp/data%(name)s bs=64k count=%(blocks)d 2>/dev/null
	dd if=/tmp/data%(name)s of=/dev/%(disk)s bs=64k seek=%(at)d conv=fsync,notrunc 2>/dev/null || echo "write" >>/tmp/failed
	echo 3 >/proc/sys/vm/drop_caches
	dd if=/dev/%(disk)s bs=64k skip=%(at)d count=%(blocks)d 2>/dev/null | cmp - /tmp/data%(name)s >>/tmp/failed 2>&1
	n=$((n + 1))
	echo $n >/tmp/rounds%(name)s
done
echo done >/tmp/done%(name)s
"""


def begin(guest, name, disk, count, apart_blocks, blocks=4):
    """`count` loops, each with `blocks` of 64 KiB of its own, `apart_blocks` apart. `name`: of all of them, one word."""
    for w in range(count):
        script = WRITER % {"name": f"{name}{w}", "disk": disk, "at": w * apart_blocks, "blocks": blocks}
        guest.check(f"cat >/tmp/writer{name}{w} <<'END'\n{script}\nEND\nsh /tmp/writer{name}{w} </dev/null >/dev/null 2>&1 &")


def rounds(guest, name):
    return sum(map(int, guest.run(f"cat /tmp/rounds{name}? 2>/dev/null").output.split()))


def failed(guest):
    """What was read and not written; nothing if all is well."""
    return guest.run("cat /tmp/failed 2>/dev/null").output


def end(guest, names, count):
    """All loops end, `count` of each name. Returns what has gone wrong."""
    done = " ".join(f"/tmp/done{name}?" for name in names)
    guest.check("touch /tmp/stop")
    wait_until(lambda: guest.run(f"ls {done} | wc -l").output.strip() == str(count * len(names)), BACK_S, "the writers end")
    return failed(guest) + guest.run("dmesg | grep -E 'I/O error|is not a head'").output
