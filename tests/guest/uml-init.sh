#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# First process of a User-mode Linux: loads the modules, carries out /job, says whether it went well, and ends.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
while read -r name; do
	insmod "/modules/$name.ko"
done </modules/order
sh -e /job 2>&1 && echo the-job-is-done
poweroff -f
