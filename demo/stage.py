# SPDX-License-Identifier: BSD-3-Clause
"""How a demonstration shows what it does, and how it ends: with nothing left running."""
import os
import shutil
import signal
import sys
import time

from guest.lab import Lab, tail

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def si(value, unit):
    for prefix in ("", "k", "M", "G"):
        if value < 1000 or prefix == "G":
            return f"{value:.0f} {unit}" if not prefix else f"{value:.1f} {prefix}{unit}"
        value /= 1000


class Screen:
    """Lines that stay, and below them a block that is redrawn in place (a terminal) or printed now and then."""

    def __init__(self):
        self.live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.colour = self.live and "NO_COLOR" not in os.environ
        self.drawn = 0

    def paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def _erase(self):
        if self.drawn:
            sys.stdout.write(f"\033[{self.drawn}F\033[J")
            self.drawn = 0

    def line(self, text=""):
        self._erase()
        print(text, flush=True)

    def done(self, text, seconds=None):
        took = self.paint("2", f"  {seconds:.1f} s") if seconds is not None else ""
        self.line(f"  {self.paint('32', '✓')} {text}{took}")

    def block(self, lines):
        if self.live:
            self._erase()
            room = shutil.get_terminal_size().columns - 1
            lines = [line[:room] for line in lines]
            self.drawn = len(lines)
        print("\n".join(lines), flush=True)

    def close(self):
        self._erase()
        sys.stdout.flush()


def _end(number, _frame):
    raise SystemExit(128 + number)


def play(demo, log):
    """Runs demo(screen, lab).run(); `log`: of the daemon, in the lab. Returns the exit status."""
    for number in SIGNALS:
        signal.signal(number, _end)
    screen, begin = Screen(), time.monotonic()
    try:
        with Lab("vireo-demo-") as lab:
            try:
                demo(screen, lab).run()
            except Exception as error:
                screen.close()
                print(f"\nThe demo failed: {error}", file=sys.stderr)
                said = tail(lab.path(log))
                if said and said not in str(error):
                    print(f"The daemon said last:\n{said}", file=sys.stderr)
                return 1
            finally:
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_IGN)  # clean up in peace
    except SystemExit as stop:
        screen.close()
        print("\nStopped; nothing is left running.", file=sys.stderr)
        return stop.code
    screen.line(f"  All of it took {time.monotonic() - begin:.0f} s, and nothing is left running.")
    return 0
