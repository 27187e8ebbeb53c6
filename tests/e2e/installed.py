#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The examples against an installed libvireo, and the disk of one of them: SeaBIOS boots from it."""
import glob
import os
import re
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import front  # noqa: E402,F401  where the raw peer is found
from guest.cases import case, expect, main, need_program, shared  # noqa: E402
from guest.installed import Installed, run  # noqa: E402
from guest.lab import listening_sockets, tail, wait_until  # noqa: E402
from guest.switch import ROOT  # noqa: E402
import vhost_user as raw  # noqa: E402
from peer import DATA, GPA, WRITE  # noqa: E402

SECTOR = 512
SECTORS = 2048  # SeaBIOS wants a cylinder
BOOT_S = 60  # emulated, on a loaded machine; 1 to 3 s are usual
READ, WRITE_OUT = 0, 1
OK, ERROR, UNSUPPORTED = 0, 1, 2

# Prints sector 1, writes it to sector 40, reads that back to another place and prints it.
BOOT_SECTOR = r"""
	.code16
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	movb %dl, drive
	movb $0x42, %ah
	call disk
	movw $0x8000, %si
	call print
	movl $40, sector
	movb $0x43, %ah
	call disk
	movw $0x9000, place
	movb $0x42, %ah
	call disk
	movw $0x9000, %si
	call print
	movw $done, %si
	call print
stop:	hlt
	jmp stop
disk:	movb $0, %al
	movw $packet, %si
	movb drive, %dl
	int $0x13
	jc failed
	ret
failed:	movw $wrong, %si
	call print
	jmp stop
print:	lodsb
	testb %al, %al
	jz 2f
	movb %al, %bl
	movw $0x3fd, %dx
1:	inb %dx, %al
	testb $0x20, %al
	jz 1b
	movb %bl, %al
	movw $0x3f8, %dx
	outb %al, %dx
	jmp print
2:	ret
drive:	.byte 0
packet:	.byte 16, 0
	.word 1
place:	.word 0x8000, 0
sector:	.long 1, 0
done:	.asciz "done\n"
wrong:	.asciz "disk error\n"
	.org 510
	.word 0xaa55
"""


def installed():
    return shared("installed", Installed)


def disk_image(lab):
    """A bootable one; each sector behind the first begins with its number."""
    need_program("as")
    with open(lab.path("boot.s"), "w") as source:
        source.write(BOOT_SECTOR)
    run(["as", "--32", "-o", lab.path("boot.o"), lab.path("boot.s")])
    run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-e", "0x7c00", "-o", lab.path("boot"), lab.path("boot.o")])
    with open(lab.path("boot"), "rb") as boot, open(lab.path("image"), "wb") as image:
        image.write(boot.read())
        for sector in range(1, SECTORS):
            image.write(f"sector {sector}\n".encode().ljust(SECTOR, b"\0"))
    return lab.path("image")


def ramdisk(lab):
    """The example, compiled against the installed tree, with its socket there."""
    tree, path = installed(), lab.path("disk.sock")
    argv = [tree.compile("vireo-ramdisk"), f"vhost-user:{path}", disk_image(lab)]
    child = lab.start(argv, log="ramdisk.log", env=tree.environment())
    wait_until(lambda: listening_sockets(path), 20, "the socket of vireo-ramdisk", child=child)
    return child, path


@case
def every_example_compiles_against_the_installed_library(lab):
    tree = installed()
    names = [os.path.basename(os.path.dirname(path)) for path in glob.glob(f"{ROOT}/examples/*/main.c")]
    expect(len(names) >= 3, f"examples: {names}")
    for name in names:
        done = subprocess.run([tree.compile(name)], env=tree.environment(), capture_output=True, text=True, timeout=60)
        expect(done.returncode == 2 and "usage:" in done.stderr, f"{name}: {done.returncode}, {done.stderr}")


@case
def man_finds_the_page_of_each_function(lab):
    pages = {os.path.basename(path): path for path in glob.glob(f"{installed().root}/**/man3/*.3", recursive=True)}
    for name, page in (("vireo_device_new", "vireo_device"), ("vireo_pci_open", "vireo_pci"), ("vireo_frame_tag_push", "vireo_frame")):
        expect(f"{name}.3" in pages, f"{name}: no page among {len(pages)}")
        expect(os.path.realpath(pages[f"{name}.3"]) == pages[f"{page}.3"], f"{name}: {os.path.realpath(pages[f'{name}.3'])}")


@case
def a_ram_disk_takes_less_than_150_lines(lab):
    with open(f"{ROOT}/examples/vireo-ramdisk/main.c") as source:
        lines = len(source.readlines())
    expect(lines < 150, f"{lines} lines")


@case(shows=[("vhost-user", "split")])
def seabios_boots_from_the_ram_disk_and_writes_to_it(lab):
    need_program("qemu-system-x86_64")
    child, path = ramdisk(lab)
    qemu = lab.start(["timeout", "-k", "1", str(BOOT_S + 5), "qemu-system-x86_64", "-M", "q35,memory-backend=mem", "-accel", "tcg", "-m", "32",
                      "-object", "memory-backend-memfd,id=mem,size=32M,share=on", "-nodefaults", "-no-user-config", "-display", "none",
                      "-chardev", f"file,id=serial,path={lab.path('serial')}", "-serial", "chardev:serial",
                      "-chardev", f"socket,id=disk,path={path}",
                      "-device", "vhost-user-blk-pci,chardev=disk,num-queues=1,bootindex=1"], log="qemu.log")

    def printed():
        with open(lab.path("serial"), "rb") as serial:
            return serial.read()
    wait_until(lambda: os.path.exists(lab.path("serial")), BOOT_S, "QEMU's serial port", child=qemu)
    wait_until(lambda: re.search(rb"(done|error)\n", printed()), BOOT_S, "the boot sector is done", child=qemu)
    expect(printed() == b"sector 1\nsector 1\ndone\n", f"{printed()}\n{tail(lab.path('ramdisk.log'))}")
    lab.kill(qemu)
    with Requests(path) as disk:  # the next peer finds what the guest has written
        expect(disk.request(READ, 40, room=SECTOR) == (OK, b"sector 1\n".ljust(SECTOR, b"\0")), "sector 40 is not what was written")
    expect(child.poll() is None, "vireo-ramdisk has ended")


class Requests(raw.VhostUserPeer):
    """The driver's half of the disk's queue, in raw bytes."""

    def __init__(self, path):
        super().__init__(path)
        self.negotiate(0)
        self.share_memory()
        self.queue = self.ring(0, 64)
        self.run()

    def request(self, kind, sector, data=b"", room=0, cuts=()):
        """(status, what was read). Pieces end at the offsets `cuts` of what is readable, and of what is writable."""
        head = struct.pack("<IIQ", kind, 0, sector) + data
        self.write(DATA, head + b"\xee" * (room + 1))
        pieces = self.pieces(0, len(head), 0, cuts) + self.pieces(len(head), room + 1, WRITE, cuts)
        self.queue.chain(pieces)
        wait_until(lambda: self.queue.used_now() != self.queue.used_index, 20, "the request is used")
        (_, written), = self.queue.used()
        expect(written == room + 1, f"{written} bytes are said to be written, not {room + 1}")
        at = DATA + len(head)
        return self.memory[at + room], self.memory[at:at + room]

    @staticmethod
    def pieces(start, length, flags, cuts):
        ends = [0, *sorted(cut for cut in cuts if 0 < cut < length), length]
        return [(GPA + DATA + start + a, b - a, flags) for a, b in zip(ends, ends[1:])]


@case
def a_request_is_served_however_its_driver_cuts_it(lab):
    _, path = ramdisk(lab)
    with Requests(path) as disk:
        for cuts in (), (16,), (1, 2, 3, 15), (17, 500), (16, 512, 513, 528), tuple(range(1, 20)):
            text = f"cut at {cuts}".encode().ljust(2 * SECTOR, b".")
            expect(disk.request(WRITE_OUT, 10, text, cuts=cuts) == (OK, b""), f"write, cut at {cuts}")
            expect(disk.request(READ, 10, room=2 * SECTOR, cuts=cuts) == (OK, text), f"read, cut at {cuts}")


@case
def what_does_not_lie_on_the_disk_is_an_error(lab):
    child, path = ramdisk(lab)
    with Requests(path) as disk:
        for sector in SECTORS, SECTORS - 1, 2**55, 2**64 - 1:
            expect(disk.request(READ, sector, room=2 * SECTOR) == (ERROR, bytes(2 * SECTOR)), f"read at {sector}")
            expect(disk.request(WRITE_OUT, sector, bytes(2 * SECTOR))[0] == ERROR, f"write at {sector}")
        expect(disk.request(READ, 0, room=SECTOR - 1)[0] == ERROR, "less than a sector")
        expect(disk.request(77, 0)[0] == UNSUPPORTED, "a request that there is not")
        expect(disk.request(READ, SECTORS - 1, room=SECTOR)[1].startswith(f"sector {SECTORS - 1}\n".encode()), "the last sector")
    expect(child.poll() is None, "vireo-ramdisk has ended")


if __name__ == "__main__":
    main()
