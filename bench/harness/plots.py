# SPDX-License-Identifier: BSD-3-Clause
"""Bars by gnuplot, as SVG files."""
import shutil
import subprocess

from .measure import Unfit

COLOURS = ("#2b6cb0", "#90cdf4", "#c05621", "#fbd38d", "#2f855a", "#9ae6b4", "#6b46c1", "#d6bcfa")


def _quoted(text):
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _block(name, groups, values):
    """A data block: group, value, minimum, maximum; bars that are missing stay empty."""
    lines = []
    for index, group in enumerate(groups):
        numbers = values.get(group)
        lines.append(f"{_quoted(group)} {index} " + (" ".join(f"{number:g}" for number in numbers) if numbers else "NaN NaN NaN"))
    return f"${name} << END\n" + "\n".join(lines) + "\nEND\n"


LOG_FROM = 20  # the largest bar is so many times the smallest: on a straight axis the small ones could not be read


def _axis(series):
    """Of numbers that lie far apart, one whose steps are powers of ten. Nothing has no bar there either."""
    numbers = [values[0] for _label, groups in series for values in groups.values() if values[0] > 0]
    if numbers and max(numbers) >= LOG_FROM * min(numbers):
        return ["set logscale y 10", f"set yrange [{min(numbers) / 2:g}:*]"]
    return ["set yrange [0:*]" if numbers else "set yrange [0:1]"]  # gnuplot complains of a plot of nothing


LABELS_MAX = 30  # bars whose numbers can be read above them


def _short(number):
    """Of three digits at least: 0, 8.0, 213, 2.3M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}"


def _numbers(groups, series, floor):
    """A label for each bar, above it and its line, and for each 0, at its foot: a bar that nobody sees is none that is missing."""
    width = 1 / (len(series) + 1)
    for i, (_label, values) in enumerate(series):
        for group, numbers in values.items():
            at, top = groups.index(group) + (i - (len(series) - 1) / 2) * width, max(numbers[-1], floor)
            yield f'set label {_quoted(_short(numbers[0]))} at {at:.4f},{top:g} center offset 0,0.5 font ",10" front noenhanced'


def script(path, title, axis, groups, series, bounds):
    """`series`: [(label, {group: (value, minimum, maximum)})]; `bounds`: {group: value} makes lines across the groups."""
    label = max(len(line) for group in groups for line in group.split("\n")) * 9
    width, below = 160 + len(groups) * max(46, label, 16 * len(series)), max(group.count("\n") for group in groups) + 2
    axes, numbered = _axis(series), sum(len(values) for _label, values in series) <= LABELS_MAX and not bounds
    largest = max((values[0] for _label, groups_ in series for values in groups_.values()), default=0)
    floor = float(axes[-1].split("[")[1].split(":")[0])
    width = max(700, width, 160 + len(groups) * (len(series) + 1) * 40 if numbered else 0)
    head = [f'set terminal svg size {width},420 font "sans-serif,12" background "white"', f"set output {_quoted(path)}",
            f"set title {_quoted(title)} noenhanced", f"set ylabel {_quoted(axis)} noenhanced", "set style data histograms",
            "set style histogram errorbars gap 1 lw 1", "set style fill solid 0.9 noborder", "set grid ytics lc rgb '#dddddd'",
            *axes, "set ytics nomirror", f"set bmargin {below}", "set errorbars lc rgb '#404040' lw 1",
            "set key outside top center horizontal noenhanced", "set xtics noenhanced scale 0", "set border 3",
            f"set xrange [-0.6:{len(groups) - 0.4}]", "set format y '%.12g'" if largest < 1e5 else "set format y '%.0s%c'"]
    if numbered:
        head += _numbers(groups, series, floor)
    blocks = [_block(f"s{i}", groups, values) for i, (_label, values) in enumerate(series)]
    plots = [f"$s{i} using 3:4:5:xtic(1) title {_quoted(label)} lc rgb '{COLOURS[i % len(COLOURS)]}'"
             for i, (label, _values) in enumerate(series)]
    if bounds:
        blocks.append("$bounds << END\n" + "\n".join(f"{i - 0.45} {bounds[group]}\n{i + 0.45} {bounds[group]}\n"
                                                     for i, group in enumerate(groups) if group in bounds) + "\nEND\n")
        plots.append("$bounds using 1:2 with lines lw 2 dt 2 lc rgb '#c53030' title 'target'")
    return "".join(blocks) + "\n".join(head) + "\nplot " + ", \\\n  ".join(plots) + "\n"


def bars(path, title, axis, groups, series, bounds=None):
    if not shutil.which("gnuplot"):
        raise Unfit("gnuplot is not there: install Debian's gnuplot-nox (scripts/install-deps bench does)")
    text = script(path, title, axis, groups, series, bounds or {})
    done = subprocess.run(["gnuplot"], input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    if done.returncode or done.stdout.strip():
        raise RuntimeError(f"gnuplot: {done.stdout.strip()}")
