#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# First process of a lab guest. Puts the machine's own root, shared by virtiofs, in the initramfs' place, file systems in memory
# over the folders that jobs write to, and carries out commands that come in over a virtio port.
#
#   in:  run ID SECONDS COMMAND     COMMAND in base64, one line; terminated after SECONDS, killed 3 s later
#   out: what the commands say, as it comes, and where a line of ours begins MARK, which no command knows:
#        MARK ready BOOT-ID
#        MARK end ID STATUS

take_root() {
	/bin/busybox --install -s /bin
	export PATH=/bin
	mkdir -p /root
	mount -t proc proc /proc
	mount -t devtmpfs dev /dev
	while read -r name; do
		insmod "/modules/$name.ko"
	done </modules/order
	ip link set lo up
	hostname lab
	# Shared by a user who is not root, files of root's look like somebody else's: a set-user-ID program would lose rights by that.
	mount -t virtiofs -o ro,nosuid root /root || poweroff -f

	cd /root
	mount --move /proc proc
	mount --move /dev dev
	mount -t sysfs sys sys
	mkdir -p dev/pts dev/shm
	mount -t devpts pts dev/pts
	for folder in dev/shm tmp var/tmp; do
		mount -t tmpfs -o mode=1777 tmp "$folder"
	done
	mount -t tmpfs -o mode=755 run run
	mkdir -p run/lab/bin run/lab/root run/lock
	mount --bind /root run/lab/root
	cp /init run/lab/init
	cp /bin/busybox run/lab/busybox
	ln -s /proc/self/fd dev/fd
	ln -s fd/0 dev/stdin
	ln -s fd/1 dev/stdout
	ln -s fd/2 dev/stderr
	exec switch_root /root /run/lab/init agent
}

mark() { # WORD...
	printf '\036%s %s\n' "$mark" "$*" >&4
}

find_port() {
	for port in /sys/class/virtio-ports/*; do
		[ -e "$port/name" ] && read -r name <"$port/name" && [ "$name" = vireo ] && port=${port##*/} && return
	done
	return 1
}

# Of the machine's programs it takes as few as it can: each comes over virtiofs, page by page.
serve() {
	box=/run/lab/busybox
	export PATH=/run/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
	read -r options </proc/cmdline
	mark=${options##*vireo.mark=}
	mark=${mark%% *}
	until find_port; do
		$box sleep 0.02
	done
	exec 3<>"/dev/$port"
	# One pipe for all that is said, so that a mark comes after what was said before it.
	$box mkfifo /run/lab/output
	$box cat </run/lab/output >&3 &
	exec 4>/run/lab/output
	read -r boot </proc/sys/kernel/random/boot_id
	mark ready "$boot"
	while :; do
		# Until QEMU has told the kernel that somebody listens, reading finds an end.
		read -r verb id seconds text <&3 || { $box sleep 0.02; continue; }
		[ "$verb" = run ] || continue
		echo "$text" | $box base64 -d >/run/lab/command
		timeout -k 3 "$seconds" sh /run/lab/command </dev/null >&4 2>&4 3>&- 4>&-
		mark end "$id" $?
	done
}

case $1 in
agent) serve ;;
*) take_root ;;
esac
