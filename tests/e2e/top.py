#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`vireoctl top` and --watch on terminals of all sizes."""
import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.switch import Switch, program  # noqa: E402
from guest.terminal import Terminal  # noqa: E402

LONG = [f"machine-{i:02}-" + "of-a-name-that-is-as-long-as-names-may-be-".ljust(50, "x") + f"{i:02}" for i in range(40)]


def switch_of(lab, names):
    return Switch(lab, [f"vhost-user:{lab.path('s%u' % i)},name={name}" for i, name in enumerate(names)])


def watch(switch, rows, columns, *words):
    return Terminal([program("vireoctl"), "-s", switch.control, "--interval", "0.2", *words], rows, columns)


def whole(terminal, lines):
    expect(not terminal.grid.faults, f"{terminal.grid.faults[:3]}")
    expect(all("\ufffd" not in line for line in lines), f"half a character: {lines}")


@case
def names_of_63_characters_fit_into_80_columns(lab):
    expect(all(len(name) == 63 for name in LONG), "names of 63 characters")
    switch = switch_of(lab, LONG[:12])
    with watch(switch, 24, 80, "top") as terminal:
        lines = terminal.wait(lambda lines: lines[-1].startswith(" q: quit") and " 0" in lines[3], "rates are shown")
        whole(terminal, lines)
        heading = lines[2].split()
        expect(heading[:2] == ["PORT", "STATE"] and "DROPS/S" in heading, f"{lines[2]}")
        rows = lines[3:15]
        for row, name in zip(rows, LONG):
            head, tail = row.split()[0].split("\u2026")
            expect(name.startswith(head) and name.endswith(tail) and head and tail, f"{row}")
        expect(len({row.split()[0] for row in rows}) == 12, f"names are told apart: {rows}")
        expect(not any(lines[15:23]), f"{lines[15:]}")
        if os.environ.get("VIREO_SCREEN"):
            with open(os.environ["VIREO_SCREEN"], "w") as file:
                file.write("\n".join(lines) + "\n")
        terminal.press("q")
        expect(terminal.ends() == 0 and terminal.is_as_before(), "the terminal is not as it was")
    end_well(switch)


@case
def more_ports_than_rows_are_scrolled(lab):
    switch = switch_of(lab, LONG)
    with watch(switch, 24, 80, "top") as terminal:
        def first(name, status):  # a screen that is half drawn has the rows of now and the status of before
            return lambda lines: (lines[3].startswith(name) and lines[0].startswith("fdb:") and lines[2].startswith("PORT") and
                                  status in lines[-1])
        terminal.wait(first("machine-00", "1-20 of 40"), "the first port")
        for keys, name, status in (("\x1b[B", "machine-01", "2-21"), ("j", "machine-02", "3-22"), ("\x1b[6~", "machine-20", "21-40 of 40"),
                                   ("\x1b[A", "machine-19", "20-39"), ("g", "machine-00", "1-20"), ("G", "machine-20", "21-40")):
            terminal.press(keys)
            terminal.wait(first(name, status), f"{name} and {status} after {keys!r}")
        terminal.resize(44, 80)  # all of them fit
        lines = terminal.wait(lambda lines: lines[42].startswith("machine-39") and lines[3].startswith("machine-00"), "all ports in a larger window")
        whole(terminal, lines)
        terminal.child.send_signal(signal.SIGTERM)
        expect(terminal.ends() == 0 and terminal.is_as_before(), "the terminal is not as it was")
    end_well(switch)


SIZES = {"20_columns": (24, 20), "1_column": (24, 1), "1_row": (1, 80), "2_rows": (2, 40), "4_rows": (4, 80), "wide": (30, 250)}


@case_for(SIZES, "a_terminal_of_{}_is_of_use")
def a_terminal_is_of_use(lab, rows, columns):
    switch = switch_of(lab, LONG[:8])
    for words in (("top",), ("port", "list", "--watch"), ("fdb", "show", "--watch"), ("stats", "--watch")):
        with watch(switch, rows, columns, *words) as terminal:
            status = " q: quit"[:columns - 1]
            lines = terminal.wait(lambda lines: lines[-1].startswith(status) and (columns > 1 or lines[0]), f"{words}: the last row")
            if rows > 2 and columns >= 20 and words != ("stats", "--watch") and words[0] != "fdb":
                terminal.press("G" if rows < 6 else "g")
                lines = terminal.wait(lambda lines: any(line.startswith("mach") for line in lines), f"{words}: a port")
            terminal.press("Gg")
            terminal.press("q")
            expect(terminal.ends() == 0, f"{words}: exit status")
            whole(terminal, lines)
            expect(terminal.is_as_before(), f"{words}: the terminal is not as it was")
    end_well(switch)


@case
def what_is_no_terminal_gets_all_columns(lab):
    switch = switch_of(lab, LONG[:2])
    text = switch.ctl("top", "--count", "1", "--interval", "0.1")
    expect(LONG[0] in text and "RX BYTES" in text and "TX DROPS/S" in text, text)
    end_well(switch)


if __name__ == "__main__":
    main()
