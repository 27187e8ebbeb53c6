# SPDX-License-Identifier: BSD-3-Clause
"""libiscsi's test suite, iscsi-test-cu, on a LUN: which of its families there are for a disk, and what is known of them. docs/scsi.md says the same."""
import re

PROGRAM = "iscsi-test-cu"
# ReceiveCopyResults asks for a list identifier that nobody has used, and it is one that ExtendedCopy uses.
QUICK = ("ReceiveCopyResults", "ExtendedCopy", "GetLBAStatus", "Inquiry", "Mandatory", "ModeSense6", "NoMedia", "Prefetch10", "Prefetch16",
         "PreventAllow", "PrinReadKeys", "PrinServiceactionRange", "PrinReportCapabilities", "ProutRegister", "ProutClear", "Read6", "Read10",
         "Read12", "Read16", "ReadCapacity10", "ReadCapacity16", "ReportSupportedOpcodes", "Reserve6", "StartStopUnit", "TestUnitReady", "Unmap")
LONG = ("CompareAndWrite", "OrWrite", "Verify10", "Verify12", "Verify16", "Write10", "Write12", "Write16", "WriteSame10", "WriteSame16",
        "WriteVerify10", "WriteVerify12", "WriteVerify16")
# Which it skips on a device of this machine, or for what is not there.
SKIPPED = ("MultipathIO", "ProutPreempt", "ProutReserve", "ReadDefectData10", "ReadDefectData12", "ReadOnly", "Sanitize", "WriteAtomic16")

BLOCKS_256 = "it means 256 blocks, for which the command's field has no room: 0 blocks are compared"
GROUPS = "it wants GROUP NUMBER 3 taken, and the Extended INQUIRY page says that there are no groups"
OVERRUN = "it wants CHECK CONDITION where data is missing, and virtio has the response OVERRUN for that"
KNOWN = {  # {test that fails: why}
    "CompareAndWrite.Simple": BLOCKS_256,
    "CompareAndWrite.Miscompare": BLOCKS_256,
    "GetLBAStatus.UnmapSingle": "it asks for block N + 1 and wants an answer for block N + 8",
    "Prefetch10.Flags": GROUPS,
    "Prefetch16.Flags": GROUPS,
    "ReportSupportedOpcodes.OneCommand": "it has room for usage data of 16 bytes, and some CDBs have 32",
    "WriteSame10.InvalidDataOutSize": OVERRUN,
    "WriteSame16.InvalidDataOutSize": OVERRUN,
}


def job(families, device):
    """Shell commands that run them, for what came_of() reads. It writes to the device."""
    return "".join(f"echo '== {family}'; /bin/{PROGRAM} -d -n -t SCSI.{family} {device} 2>&1 || true\n" for family in families)


def came_of(said):
    """{family: (number of its tests, names of those that have failed)}"""
    results = {}
    for part in re.split(r"^== ", said, flags=re.M)[1:]:
        family = part.split()[0]
        failed = re.findall(r"^Suite \S+, Test (.+) had failures:", part, re.M)
        tests = re.search(r"^\s*tests\s+\d+\s+(\d+)\s+\d+\s+(\d+)", part, re.M)
        if not tests or int(tests.group(2)) != len(failed):
            raise AssertionError(f"{family} of {PROGRAM} has not come to its end:\n{part[-2000:]}")
        results[family] = (int(tests.group(1)), failed)
    return results


def surprises(results):
    """What is not as KNOWN says: a test that fails and is not in it, and one that is and passes."""
    failed = {f"{family}.{test}" for family, (_, tests) in results.items() for test in tests}
    expected = {test for test in KNOWN if test.partition(".")[0] in results}
    return sorted(failed ^ expected)
