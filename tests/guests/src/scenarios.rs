//! The scenarios.

use crate::cases::PCI;
use crate::kernels::Kernel;
use crate::scenario::Scenario;
use crate::when::When;

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    qcow2("qcow2/cloud", Kernel::Cloud, BLOCK),
    qcow2("qcow2/generic", Kernel::Generic, BLOCK_AND_EXT4),
    FILES,
    FAULTS,
    NET,
    REPEATED,
];

const BLOCK: &[&str] = &[PCI[0], PCI[1], PCI[2], PCI[3], PCI[4], "virtio_blk"];
const BLOCK_AND_EXT4: &[&str] = &[
    PCI[0],
    PCI[1],
    PCI[2],
    PCI[3],
    PCI[4],
    "virtio_blk",
    "crc16",
    "crc32c_generic",
    "mbcache",
    "jbd2",
    "ext4",
];

/// ext4 on images of three kinds, whose monitor is killed in the middle of writing.
const fn qcow2(name: &'static str, kernel: Kernel, modules: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        when: When::Always,
        kernel,
        modules,
        programs: &[],
        guest: include_str!("../scripts/qcow2-guest.sh"),
        script: include_str!("../scripts/qcow2.sh"),
        tools: &[
            ("qemu-img", "qemu-utils"),
            ("mkfs.ext4", "e2fsprogs"),
            ("e2fsck", "e2fsprogs"),
        ],
        nested_modules: &[],
        texts: &[],
        says: &[
            "write: killed, status 137",
            "(vda): recovery complete",
            "(vdb): recovery complete",
            "(vdc): recovery complete",
            "guest: vda has what was synced",
            "guest: vdb has what was synced",
            "guest: vdc has what was synced",
            "find: status 0",
            "backing files: untouched",
            "all images: consistent",
        ],
        expected: &[],
    }
}

/// What a program sees of a folder, on the host and by virtio-fs.
const FILES: Scenario = Scenario {
    name: "files/cloud",
    when: When::Always,
    kernel: Kernel::Cloud,
    modules: &[PCI[0], PCI[1], PCI[2], PCI[3], PCI[4], "fuse", "virtiofs"],
    programs: &["files"],
    guest: include_str!("../scripts/files-guest.sh"),
    script: include_str!("../scripts/files.sh"),
    tools: &[("mkfs.ext4", "e2fsprogs")],
    nested_modules: &["loop"],
    texts: &[("exceptions", include_str!("../scripts/files-exceptions"))],
    says: &["guest: done", "files: the same, save for the exceptions"],
    expected: &[],
};

/// Frames of a driver that is not ours, by the user network.
const NET: Scenario = Scenario {
    name: "net/cloud",
    when: When::Always,
    kernel: Kernel::Cloud,
    modules: &[
        PCI[0],
        PCI[1],
        PCI[2],
        PCI[3],
        PCI[4],
        "failover",
        "net_failover",
        "virtio_net",
    ],
    programs: &[],
    guest: include_str!("../scripts/net-guest.sh"),
    script: include_str!("../scripts/net.sh"),
    tools: &[],
    nested_modules: &[],
    texts: &[],
    says: &[
        "guest: 10.0.2.15 by 10.0.2.2, names from 10.0.2.3",
        "guest: mtu 65520",
        "guest: the gateway is there",
        "guest: refused",
        "guest: no metadata",
        "net: fetched intact",
        "net: served intact",
        "net: eight at once",
        "only: status 0",
    ],
    expected: &[],
};

/// The same machine several times, to the bit.
const REPEATED: Scenario = Scenario {
    name: "repeated/cloud",
    when: When::NotNested,
    kernel: Kernel::Cloud,
    modules: &[
        PCI[0],
        PCI[1],
        PCI[2],
        PCI[3],
        PCI[4],
        "virtio_blk",
        "virtio-rng",
        "fuse",
        "virtiofs",
    ],
    programs: &[],
    guest: include_str!("../scripts/repeated-guest.sh"),
    script: include_str!("../scripts/repeated.sh"),
    tools: &[],
    nested_modules: &[],
    texts: &[],
    says: &[
        "one: status 0",
        "guest: heard a line",
        "guest: done",
        "repeated: the same is said",
        "repeated: the same state",
        "repeated: another seed differs",
    ],
    expected: &[],
};

/// Disks that fail in the middle of a machine's life, and what is there after the next start.
const FAULTS: Scenario = Scenario {
    name: "faults/cloud",
    when: When::Always,
    kernel: Kernel::Cloud,
    modules: BLOCK,
    programs: &["sweep"],
    guest: include_str!("../scripts/faults-guest.sh"),
    script: include_str!("../scripts/faults.sh"),
    tools: &[
        ("qemu-img", "qemu-utils"),
        ("qemu-io", "qemu-utils"),
        ("dmsetup", "dmsetup"),
        ("prlimit", "util-linux"),
    ],
    nested_modules: &["loop", "dm-mod"],
    texts: &[],
    says: &[
        // No room, raw: the requests that find none, and nothing else.
        "guest: write vda 0-1023:ok 1024-1087:EIO",
        "guest: check vda 0-1023:same 1024-1087:zero",
        // No room, qcow2; then there is.
        "guest: check vdb 0-899:same",
        "guest: write vdb 0-1199:ok",
        "guest: check vdb 0-1199:same",
        // Read-only.
        "guest: write vdc 0-15:EPERM",
        "only-read: untouched",
        // Cut, and mended.
        "guest: check vdd 0-511:same 512-1023:EIO",
        "guest: check vdd 0-511:same 512-1023:zero",
        // Bad sectors: a read says so at once, a write when it is flushed.
        "guest: check vde 0-255:same 256-511:EIO 512-1023:same",
        "guest: sync vde EIO",
        // A limit of the monitor.
        "guest: write vdf 3000-3071:ok 3072-3135:EIO",
        "guest: check vdf 3000-3071:same 3072-3135:zero",
        // Two machines with one disk.
        "second machine: status 125, husk: --disk: disk cut is in use by another machine",
        "second machine: status 125, husk: --disk: disk small-qcow2/disk is in use by another",
        // Killed, and started again with the same disks: what was flushed is there.
        "before: killed, status 137",
        "after: status 0",
        "guest: check vda 0-1023:same\r",
        "guest: check vdb 0-1199:same\r",
        "guest: check vdd 512-1023:same\r",
        "guest: check vde 256-511:same\r",
        "guest: check vde 512-1023:same\r",
        "guest: check vdf 3000-3071:same\r",
        // A damaged image.
        "guest: check vdc 8192-8207:EIO",
        "guest: still there",
    ],
    expected: &[
        "I/O error, dev vd",
        "Buffer I/O error on dev vd",
        "vdc: unable to read partition table",
        "blk_print_req_error: ",
    ],
};
