# SPDX-License-Identifier: BSD-3-Clause
"""Disks that boot, and say so: boot sectors under a BIOS, without any other system."""
import os
import subprocess
import tempfile

# Reads the second sector by INT 13h, and writes its text to the first serial port.
BOOT_SECTOR = bytes.fromhex("fa31c08ed88ec08ed0bc007cfbb80102bb007eb90200ba8000cd13721abe007eac84c0741288c4bafd03"
                            "eca82074fbbaf80388e0eeebe9f4ebfd")


def _sector(code, text):
    return code.ljust(510, b"\0") + b"\x55\xaa" + text.encode().ljust(512, b"\0")


def boot_image(path, text, mebibytes):
    with open(path, "wb") as image:
        image.write(_sector(BOOT_SECTOR, text))
        image.truncate(mebibytes << 20)
    return path


# ---- one that writes ----

WRITES_AT, WRITES_SECTORS, WRITES_TIMES = 64, 32, 16  # the first sector, and how many each time
WRITER = r"""
	.code16
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	movb %dl, drive
	movw $0x1000, %ax
	movw %ax, %es
	cld
# What is written says where it is to be: each double word is its place on the disk, in double words.
again:	xorw %di, %di
	movw ${words}, %cx
	movl value, %eax
1:	stosl
	incl %eax
	loop 1b
	movb $0x43, %ah
	movw $0x1000, segment
	call move
	movb $0x42, %ah
	movw $0x2000, segment
	call move
	movw $0x2000, %ax
	movw %ax, %fs
	xorw %di, %di
	movw ${words}, %cx
	movl value, %eax
2:	cmpl %eax, %fs:(%di)
	jne wrong
	incl %eax
	addw $4, %di
	loop 2b
	movl %eax, value
	addl ${sectors}, sector
	decw left
	jnz again
	movw $good, %si
	jmp say
move:	movw $packet, %si
	movb drive, %dl
	movb $0, %al
	int $0x13
	jc wrong
	ret
wrong:	movw $bad, %si
say:	lodsb
	testb %al, %al
	jz 4f
	movb %al, %ah
	movw $0x3fd, %dx
3:	inb %dx, %al
	testb $0x20, %al
	jz 3b
	movw $0x3f8, %dx
	movb %ah, %al
	outb %al, %dx
	jmp say
4:	hlt
	jmp 4b
drive:	.byte 0
left:	.word {times}
value:	.long {value}
packet:	.byte 16, 0
	.word {sectors}
	.word 0
segment: .word 0
sector:	.long {at}, 0
good:	.asciz "written and read back\r\n"
bad:	.asciz "not as it was written\r\n"
"""


def assembled(text):
    """The code of a boot sector, by binutils."""
    with tempfile.TemporaryDirectory(prefix="vireo-boot-") as folder:
        source, code, flat = (os.path.join(folder, name) for name in ("boot.s", "boot.o", "boot"))
        with open(source, "w") as out:
            out.write(text)
        for argv in (["as", "--32", "-o", code, source],
                     ["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-e", "0x7c00", "-o", flat, code]):
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
            if done.returncode:
                raise RuntimeError(f"{' '.join(argv)}: {done.stderr}")
        with open(flat, "rb") as made:
            return made.read()


def writer_image(path, mebibytes, after):
    """An image whose boot sector writes to it, reads that back, and says "written and read back"; `after`: another, as that leaves it."""
    values = {"words": WRITES_SECTORS * 128, "sectors": WRITES_SECTORS, "times": WRITES_TIMES, "at": WRITES_AT, "value": WRITES_AT * 128}
    text = WRITER
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    code, count = assembled(text), WRITES_TIMES * WRITES_SECTORS * 128
    for name, begin in ((path, 0), (after, WRITES_AT * 128)):
        with open(name, "wb") as image:
            image.write(_sector(code, ""))
            image.seek(WRITES_AT * 512)
            image.write(b"".join(number.to_bytes(4, "little") for number in range(begin, begin + count if begin else 0)))
            image.truncate(mebibytes << 20)
