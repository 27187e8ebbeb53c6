# SPDX-License-Identifier: BSD-3-Clause
"""A guest behind an emulated IOMMU."""

BEHIND = {"iommu_platform": "on", "ats": "on"}  # properties of its devices


class Guarded:
    """Beside a class of guests. Its NICs each have a port of their own: only there QEMU's have ATS, without which it is told of no lazy
    unmapping."""
    def __init__(self, *arguments, strict=True, **more):
        self.strict = strict
        super().__init__(*arguments, **more)

    def _arguments(self, memory_mib, cpus, extra, programs):
        nics, self.nics = self.nics, []
        argv = super()._arguments(memory_mib, cpus, (), programs)
        argv[argv.index("-append") + 1] += f" intel_iommu=on iommu.strict={int(self.strict)}"
        argv += ["-device", "intel-iommu,device-iotlb=on,intremap=off"]
        for index, nic in enumerate(nics):
            nic.properties = {**BEHIND, "bus": f"root{index}", **nic.properties}
            argv += ["-device", f"pcie-root-port,id=root{index},chassis={index + 1}"] + nic.arguments(index)
        self.nics = nics
        return argv + list(extra)

    def is_guarded(self):
        """Its driver has accepted ACCESS_PLATFORM."""
        return self.check(f"cat /sys/class/net/{self.interface()}/device/features").strip()[33] == "1"
