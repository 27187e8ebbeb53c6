#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# First process of a guest: loads the modules, then carries out commands that come in over a virtio port. (An emulated
# serial line loses an interrupt now and then, and then says no more.)
#
#   in:  run ID SECONDS COMMAND     COMMAND in base64, one line; killed after SECONDS
#   out: ready BOOT-ID
#        out ID TEXT                the output in base64, any number of lines
#        end ID STATUS

/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /tmp
mount -t tmpfs -o size=75% tmp /tmp
case " $(cat /proc/cmdline) " in *" vireo.probe "*) echo vireo-probe-ok; poweroff -f ;; esac

while read -r name; do
	insmod "/modules/$name.ko"
done </modules/order
ip link set lo up

until name=$(grep -lsx vireo /sys/class/virtio-ports/*/name); do
	sleep 0.02
done
name=${name%/name}
exec 3<>"/dev/${name##*/}"
echo "ready $(cat /proc/sys/kernel/random/boot_id)" >&3
while read -r verb id seconds text <&3; do
	[ "$verb" = run ] || continue
	echo "$text" | base64 -d >/tmp/.command
	timeout -s KILL "$seconds" sh /tmp/.command </dev/null >/tmp/.output 2>&1 3>&-
	status=$?
	base64 /tmp/.output | sed "s/^/out $id /" >&3
	echo "end $id $status" >&3
done
poweroff -f
