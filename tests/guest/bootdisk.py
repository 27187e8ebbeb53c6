# SPDX-License-Identifier: BSD-3-Clause
"""An image of a disk that SeaBIOS boots Linux from, with a boot sector of its own, and a guest that has no other kernel.

Sector 0 loads what follows it: 56 KiB for the memory at 0x90000 (the kernel's real-mode part, and its command line at the end),
then the kernel for 1 MiB, then the initramfs for INITRD. See "The Linux/x86 Boot Protocol" in the kernel's documentation.
"""
import os
import struct
import subprocess
import tempfile

from . import image, kernels
from .qemu import KERNEL_OPTIONS, Guest

SECTOR = 512
LOW = 112 * SECTOR  # one read of INT 13h, and below the BIOS's own data
LINE = 0xd800  # where the command line is in it
LINE_MAX = LOW - LINE - 1
CHUNK = 64 * SECTOR
KERNEL, INITRD = 0x100000, 0x6000000  # behind what the kernel unpacks itself to
HEAP_END = 0xd000 - 0x200

LOADER = r"""
	.code16
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7c00, %sp
	movb %dl, drive
	call read
	movw $64, count
	movw $0x2000, segment
	movl ${low}, sector
	movw ${kernel_chunks}, %cx
	call load
	movw $0, to_low
	movb ${initrd_middle}, to_middle
	movb ${initrd_high}, to_high
	movw ${initrd_chunks}, %cx
	call load
	cli
	movw $0x9000, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %fs
	movw %ax, %gs
	movw %ax, %ss
	movw ${heap}, %sp
	ljmp $0x9020, $0
# CX chunks from the disk to where the table of INT 15h says; both go on behind them.
load:	pushw %cx
	call read
	movw $table, %si
	movw ${words}, %cx
	movb $0x87, %ah
	int $0x15
	jc failed
	addw ${chunk}, to_low
	adcb $0, to_middle
	adcb $0, to_high
	addl $64, sector
	popw %cx
	loop load
	ret
read:	movw $packet, %si
	movb drive, %dl
	movb $0x42, %ah
	int $0x13
	jc failed
	ret
failed:	movw $wrong, %si
1:	lodsb
	testb %al, %al
	jz 2f
	movw $0x3f8, %dx
	outb %al, %dx
	jmp 1b
2:	hlt
	jmp 2b
drive:	.byte 0
packet:	.byte 16, 0
count:	.word 112
	.word 0
segment: .word 0x9000
sector:	.long 1, 0
wrong:	.asciz "the boot sector cannot read the disk\n"
	.balign 8
table:	.long 0, 0, 0, 0
	.word 0xffff, 0
	.byte 2, 0x93, 0, 0
	.word 0xffff
to_low:	.word 0
to_middle: .byte 0x10, 0x93, 0
to_high: .byte 0
	.long 0, 0, 0, 0
	.org 510
	.word 0xaa55
"""


def _run(argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr}")


def boot_sector(kernel_chunks, initrd_chunks):
    values = {"low": 1 + LOW // SECTOR, "kernel_chunks": kernel_chunks, "initrd_chunks": initrd_chunks, "chunk": CHUNK,
              "words": CHUNK // 2, "heap": HEAP_END, "initrd_middle": INITRD >> 16 & 0xff, "initrd_high": INITRD >> 24}
    text = LOADER
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    with tempfile.TemporaryDirectory(prefix="vireo-boot-") as folder:
        source, code, flat = (os.path.join(folder, name) for name in ("boot.s", "boot.o", "boot"))
        with open(source, "w") as out:
            out.write(text)
        _run(["as", "--32", "-o", code, source])
        _run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-e", "0x7c00", "-o", flat, code])
        with open(flat, "rb") as made:
            return made.read()


def _padded(data, unit):
    return data + bytes(-len(data) % unit)


def _low(kernel, initrd_size, options):
    """The kernel's real-mode part with its header filled in, and how many bytes of the file that is."""
    size = (kernel[0x1f1] + 1) * SECTOR
    line = options.encode()
    if kernel[0x202:0x206] != b"HdrS" or size > HEAP_END or len(line) > LINE_MAX:
        raise ValueError("no kernel that the boot sector can load")
    low = bytearray(kernel[:size].ljust(LOW, b"\0"))
    low[0x210] = 0xff  # a boot loader without a number
    low[0x211] |= 0x80  # there is a heap
    struct.pack_into("<II", low, 0x218, INITRD, initrd_size)
    struct.pack_into("<H", low, 0x224, HEAP_END)
    struct.pack_into("<I", low, 0x228, 0x90000 + LINE)
    low[LINE:LINE + len(line)] = line
    return bytes(low), size


def made(path, modules=image.MODULES, options=KERNEL_OPTIONS):
    """Writes the image to `path`."""
    folder = kernels.kernel()
    with open(folder + "/vmlinuz", "rb") as file:
        kernel = file.read()
    with open(image.initramfs(folder, modules=modules), "rb") as file:
        initrd = file.read()
    low, size = _low(kernel, len(initrd), options)
    parts = [_padded(kernel[size:], CHUNK), _padded(initrd, CHUNK)]
    with open(path, "wb") as out:
        out.write(boot_sector(*(len(part) // CHUNK for part in parts)) + low + b"".join(parts))
        out.truncate(out.tell() + (1 << 20) & -(1 << 20))
    return path


class DiskGuest(Guest):
    """A guest that QEMU gives no kernel: the first of its disks must have one."""

    def _arguments(self, memory_mib, cpus, extra, programs):
        return [*self._board(memory_mib, cpus), *extra]
