# SPDX-License-Identifier: BSD-3-Clause
"""A disk that boots, and says so."""

# Reads the second sector by INT 13h, and writes its text to the first serial port.
BOOT_SECTOR = bytes.fromhex("fa31c08ed88ec08ed0bc007cfbb80102bb007eb90200ba8000cd13721abe007eac84c0741288c4bafd03"
                            "eca82074fbbaf80388e0eeebe9f4ebfd")


def boot_image(path, text, mebibytes):
    with open(path, "wb") as image:
        image.write(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa")
        image.write(text.encode().ljust(512, b"\0"))
        image.truncate(mebibytes << 20)
    return path
