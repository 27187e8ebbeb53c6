#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# First process of a machine inside the lab's guest: pings 10.8.0.2 over its only card, says so, and ends.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r name; do
	insmod "/modules/$name.ko"
done </modules/order
ip link set eth0 up
ip addr add 10.8.0.1/24 dev eth0
ping -c 5 -w 60 10.8.0.2 && ping -c 3 -w 60 -s 1400 10.8.0.2 && echo nested-ping-ok
wget -q -T 60 -O /tmp/file http://10.8.0.2:8000/file && md5sum </tmp/file
sync
poweroff -f
