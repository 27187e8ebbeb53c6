# SPDX-License-Identifier: BSD-3-Clause
"""A program on a terminal of a given size, and what its screen shows: as much of a terminal as our programs use."""
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
import unicodedata

SEQUENCE = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z])")


class Grid:
    """The cells of a screen. What a terminal would do and nobody wants to see (a line that wraps, a screen that scrolls) is noted."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.faults, self.other_screen = [], False
        self.rest = b""

    def text(self):
        return ["".join(row).rstrip() for row in self.cells]

    def feed(self, data):
        data = self.rest + data
        whole = len(data)
        for back in range(1, min(4, whole) + 1):  # a character, or a sequence, that is not there whole yet
            if data[-back] >= 0xc0:
                needed = 2 if data[-back] < 0xe0 else 3 if data[-back] < 0xf0 else 4
                whole -= back if back < needed else 0
                break
        text, self.rest = data[:whole].decode(), data[whole:]
        cut = re.search(r"\x1b(\[[?\d]*)?$", text)
        if cut:
            self.rest = text[cut.start():].encode() + self.rest
            text = text[:cut.start()]
        at = 0
        while at < len(text):
            found = SEQUENCE.match(text, at)
            if found:
                self._obey(*found.groups())
                at = found.end()
            else:
                self._put(text[at])
                at += 1

    def _obey(self, private, number, letter):
        if private:
            if number == "1049":
                self.other_screen = letter == "h"
        elif letter == "H":
            self.row = self.column = 0
        elif letter == "K":  # behind the last column, the last one is cleared
            self._clear(self.row, min(self.column, self.columns - 1))
        elif letter == "J":
            self._clear(self.row, min(self.column, self.columns - 1))
            for row in range(self.row + 1, self.rows):
                self._clear(row, 0)
        elif letter != "m":
            self.faults.append(f"sequence {number}{letter}")

    def _clear(self, row, column):
        self.cells[row][column:] = [" "] * (self.columns - column)

    def _put(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            if self.row + 1 == self.rows:
                self.faults.append("the screen scrolled")
            self.row = min(self.row + 1, self.rows - 1)
        else:
            width = 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
            if self.column + width > self.columns:
                self.faults.append(f"row {self.row} wrapped at '{char}'")
                return
            if not width:
                self.cells[self.row][self.column - 1] += char
            else:
                self.cells[self.row][self.column:self.column + width] = [char] + [""] * (width - 1)
            self.column += width


class Terminal:
    def __init__(self, argv, rows, columns):
        self.grid = Grid(rows, columns)
        self.ours, theirs = pty.openpty()
        self._resize(rows, columns)
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.child = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.set_blocking(self.ours, False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.child.stderr.close()
        os.close(self.ours)
        os.close(self.theirs)

    def _resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        """The program is told by SIGWINCH."""
        self.grid.rest = b""
        self.grid = Grid(rows, columns)
        self._resize(rows, columns)

    def press(self, keys):
        os.write(self.ours, keys.encode())

    def _look(self):
        try:
            while True:
                self.grid.feed(os.read(self.ours, 65536))
        except BlockingIOError:
            pass

    def wait(self, shows, what, seconds=20):
        """Until the screen's lines are as `shows` wants them, which is asked where nothing has come for a moment."""
        end = time.monotonic() + seconds
        while True:
            self._look()
            lines = self.grid.text()
            if shows(lines):
                return lines
            if time.monotonic() > end:
                raise AssertionError(f"{what}; the screen:\n" + "\n".join(lines))
            time.sleep(0.02)

    def ends(self, seconds=20):
        """The exit status; what it still prints is looked at."""
        end = time.monotonic() + seconds
        while self.child.poll() is None:
            self._look()
            if time.monotonic() > end:
                raise AssertionError("it does not end")
            time.sleep(0.02)
        self._look()
        return self.child.returncode

    def is_as_before(self):
        return termios.tcgetattr(self.theirs) == self.before and not self.grid.other_screen
