# SPDX-License-Identifier: BSD-3-Clause
"""An image with a FAT16 file system that holds one file, for firmware that looks for one (UEFI)."""
import struct

SECTOR = 512
FAT_SECTORS, ROOT_ENTRIES, RESERVED, COPIES = 64, 512, 1, 2
ROOT_SECTORS = ROOT_ENTRIES * 32 // SECTOR
DATA_AT = RESERVED + COPIES * FAT_SECTORS + ROOT_SECTORS
CLUSTERS = FAT_SECTORS * SECTOR // 2 - 16  # of one sector; a file system of so many is FAT16
MEDIA = 0xf8


def _boot_sector():
    total = DATA_AT + CLUSTERS
    sector = struct.pack("<3s8sHBHBHHBHHHII", b"\xeb\x3c\x90", b"vireo   ", SECTOR, 1, RESERVED, COPIES, ROOT_ENTRIES, total, MEDIA,
                         FAT_SECTORS, 63, 255, 0, 0)
    sector += struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 0x76697265, b"VIREO      ", b"FAT16   ")
    return sector.ljust(510, b"\0") + b"\x55\xaa"


def made(path, name, data):
    """`name`: in 8.3, as ("STARTUP", "NSH"). The file lies in the first clusters, one behind the other."""
    count = max(1, -(-len(data) // SECTOR))
    chain = [0xff00 | MEDIA, 0xffff, *range(3, 2 + count), 0xffff]
    table = struct.pack(f"<{len(chain)}H", *chain).ljust(FAT_SECTORS * SECTOR, b"\0")
    entry = struct.pack("<8s3sB14xHI", name[0].encode().ljust(8), name[1].encode().ljust(3), 0x20, 2, len(data))
    with open(path, "wb") as out:
        out.write(_boot_sector() + table * COPIES + entry.ljust(ROOT_SECTORS * SECTOR, b"\0") + data)
        out.truncate((DATA_AT + CLUSTERS) * SECTOR)
    return path
