# SPDX-License-Identifier: BSD-3-Clause
"""Pages that name tests: their tables, and the tests that there are."""
import glob
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def text(*paths):
    parts = []
    for path in paths:
        with open(os.path.join(ROOT, path)) as file:
            parts.append(file.read())
    return "\n".join(parts)


def files(*patterns):
    return sorted(path for pattern in patterns for path in glob.glob(pattern, root_dir=ROOT, recursive=True))


def sections(page):
    """Rows of each section's tables: {title: [[cell, ...], ...]}."""
    result, title = {}, None
    for line in page.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ").strip()
            result[title] = []
        elif line.startswith("|") and title and not set(line) <= set("|- "):
            result[title].append([cell.strip() for cell in line.strip("|").split("|")])
    return result


def tests():
    """Names of cases; a case that has variants has the name without them."""
    found = set()
    for path in files("lib/**/*_test.c", "lib/**/*_test_both.h", "lib/**/killed_test.h", "work/*_test.c", "switch/*_test.c", "daemon/*_test.c", "disk/*_test.c", "scsi/*_test.c", "apps/**/*_test.c",
                      "tests/**/*.py"):
        found |= set(re.findall(r"^(?:static (?:inline )?void|def) (\w+)\(", text(path), re.M))
        found |= {m.replace("{}", "") for m in re.findall(r'"(\w+_\{\}\w*)"', text(path))}
    return found


def exists(name, there):
    """A file, a test, or with a star at its end all tests that begin so."""
    if "/" in name:
        return os.path.exists(os.path.join(ROOT, name))
    return name in there or (name[-1] == "*" and any(test.startswith(name[:-1]) for test in there))
