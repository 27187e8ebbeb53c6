# SPDX-License-Identifier: BSD-3-Clause
"""What `make demo` says at its end: how to attach a virtual machine of one's own. tests/e2e/readme.py runs it."""

TEXT = """
{title}

  Start the switch, and watch it from another terminal:

    {switchd} --control /tmp/vireo.control \\
        --port vhost-user:/tmp/vm1.sock,name=vm1 --port vhost-user:/tmp/vm2.sock,name=vm2
    {ctl} -s /tmp/vireo.control top

  QEMU: its memory must be shared, and the NIC comes over the socket. Add to the command line of each machine{why}:

    -m 1G -object memory-backend-memfd,id=mem,size=1G,share=on -machine memory-backend=mem
    -chardev socket,id=vm1,path=/tmp/vm1.sock,reconnect=1 -netdev vhost-user,id=vm1,chardev=vm1
    -device virtio-net-pci,netdev=vm1,mac=52:54:00:00:00:01{vectors}

  libvirt: `virsh edit NAME`; let it open the socket with ,user=libvirt-qemu after the port's path:

    <memoryBacking>
      <source type='memfd'/>
      <access mode='shared'/>
    </memoryBacking>
    ...
    <interface type='vhostuser'>
      <mac address='52:54:00:00:00:01'/>
      <source type='unix' path='/tmp/vm1.sock' mode='client'>
        <reconnect enabled='yes' timeout='1'/>
      </source>
      <model type='virtio'/>{alias}
    </interface>
{override}"""

# QEMU 7.2 ends when a guest that it emulates masks an MSI-X vector of a vhost-user card.
ALIAS = "\n      <alias name='ua-vm1'/>"
OVERRIDE = """
  and, without KVM only, give the first line of it xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0', and before the last:

    <qemu:override>
      <qemu:device alias='ua-vm1'>
        <qemu:frontend>
          <qemu:property name='vectors' type='unsigned' value='0'/>
        </qemu:frontend>
      </qemu:device>
    </qemu:override>
"""


def text(title, switchd, ctl, kvm):
    return TEXT.format(title=title, switchd=switchd, ctl=ctl, why="" if kvm else " (vectors=0: without KVM only)",
                       vectors="" if kvm else ",vectors=0", alias="" if kvm else ALIAS, override="" if kvm else OVERRIDE)
