# SPDX-License-Identifier: BSD-3-Clause
"""A load that verifies, for whoever kills daemons under a guest: shell functions for a guest that has this machine's fio."""

FIO_LOAD = r"""
load_begin() { # DISK...: two jobs for each write a stretch, then read and verify it, again and again; in bursts, so that a shell has a turn
	jobs=
	for disk in "$@"; do jobs="$jobs --name=$disk --filename=/dev/$disk"; done
	rm -f /tmp/load.said
	fio --ioengine=libaio --direct=1 --thread --iodepth=16 --rw=randwrite --bsrange=4k-64k --thinktime=100ms --thinktime_blocks=16 --numjobs=2 --offset_increment=4M --size=2M --verify=crc32c \
		--verify_fatal=1 --verify_state_save=0 --do_verify=1 --loops=1000000 --output=/tmp/load.said $jobs >/tmp/load.err 2>&1 &
	echo $! >/tmp/load.pid
}
load_runs() { [ -e /proc/$(cat /tmp/load.pid)/exe ]; }
load_done() { awk -v field=$2 '{ print $field }' /sys/block/$1/stat; } # DISK 1: reads; 5: writes
load_failed() { echo "the load $*"; cat /tmp/load.said /tmp/load.err 2>/dev/null; exit 1; }
load_goes_on() { # DISK...: something of each is done, from now on
	for disk in "$@"; do
		was=$(($(load_done $disk 1) + $(load_done $disk 5))) n=0
		until [ $(($(load_done $disk 1) + $(load_done $disk 5))) -gt $((was + 20)) ]; do
			load_runs || load_failed "has ended"
			n=$((n + 1))
			[ $n -lt 600 ] || load_failed "stands still: $disk"
			sleep 0.1
		done
	done
}
load_end() { # DISK...
	kill -TERM $(cat /tmp/load.pid)
	n=0
	while load_runs; do n=$((n + 1)); [ $n -lt 600 ] || load_failed "does not end"; sleep 0.1; done
	[ $(grep -c 'err= 0' /tmp/load.said) = $((2 * $#)) ] || load_failed "has failed"
	if grep -E 'verify: |io_u error|fio: pid=' /tmp/load.said /tmp/load.err; then load_failed "has found something else"; fi
	for disk in "$@"; do echo "$disk: $(load_done $disk 5) writes and $(load_done $disk 1) reads"; done
}
"""
