# SPDX-License-Identifier: BSD-3-Clause
"""A process with silent front ends: guests that are there and do nothing. Started by system.Attached, told line by line:

  attach PATH    attaches one to this vhost-user socket: rings run, receive buffers are posted
  quit           ends; so does the end of the input

Each line is answered by one line of JSON; an attach with the identity of the front end's memory, which it shares with the back end.
"""
import json
import os
import resource
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "tests"))
from guest.front import Front  # noqa: E402


def say(**what):
    print(json.dumps(what), flush=True)


def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # six files per front end
    fronts = []
    say(ready=True, tsc_hz=0)
    for line in sys.stdin:
        verb, _, path = line.strip().partition(" ")
        if verb != "attach":
            break
        try:
            fronts.append(Front(path))
        except (OSError, AssertionError) as error:
            say(error=f"{path}: {error}")
            continue
        file = os.fstat(fronts[-1].peer.memfd)
        say(memory=[os.major(file.st_dev), os.minor(file.st_dev), file.st_ino])


if __name__ == "__main__":
    main()
