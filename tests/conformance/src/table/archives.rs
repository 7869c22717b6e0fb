//! Archives and compression, small and (slow) of one gigabyte.

use crate::case::{Case, in_package};
use crate::content::Content::{Mixed, Noise};

const TREE: &str = "mkdir -p t/a/b; cp in t/a/one; ln -s a/one t/link; ln t/a/one t/hard; \
    chmod 640 t/a/one; truncate -s 300000 t/sparse; touch -d @1000 t/a/one";
const GIGABYTE: u64 = 1 << 30;

pub(super) fn cases() -> Vec<Case> {
    [tar(), gzip(), bzip2(), xz(), zstd(), others(), slow()]
        .into_iter()
        .flatten()
        .collect()
}

fn tar() -> Vec<Case> {
    in_package(
        "tar",
        [
            Case::new("create", &["tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-cf", "out.tar", "t"])
                .file("in", Mixed(50_000))
                .prepare(TREE),
            Case::new("extract", &["tar", "-xpvf", "in.tar"])
                .file("in", Mixed(50_000))
                .prepare("mkdir -p t/a/b; cp in t/a/one; ln -s a/one t/link; ln t/a/one t/hard; tar --mtime=@0 -cf in.tar t; rm -r t"),
            Case::new("list", &["tar", "-tf", "in.tar"])
                .file("in", Mixed(5000))
                .prepare("mkdir t; cp in t; tar --mtime=@0 -cf in.tar t"),
            Case::new("broken", &["tar", "-tf", "in"]).file("in", Noise(5000)).fails(),
            Case::new("stdout", &["tar", "-c", "--mtime=@0", "--format=pax", "--pax-option=delete=atime,delete=ctime", "in"])
                .file("in", Noise(30_000)),
        ],
    )
}

fn gzip() -> Vec<Case> {
    in_package(
        "gzip",
        [
            Case::new("pack", &["gzip", "-9", "-n", "-k", "in"]).file("in", Mixed(500_000)),
            Case::new("stdin", &["gzip", "-nc"]).stdin(Mixed(500_000)),
            Case::new("unpack", &["gzip", "-dc", "in.gz"])
                .file("in", Mixed(500_000))
                .prepare("gzip -n in"),
            Case::new("test", &["gzip", "-tv", "in.gz"])
                .file("in", Noise(5000))
                .prepare("gzip -n in")
                .with_stderr(),
            Case::new("broken", &["gzip", "-dc", "in"])
                .file("in", Noise(5000))
                .fails()
                .with_stderr(),
        ],
    )
}

fn bzip2() -> Vec<Case> {
    in_package(
        "bzip2",
        [
            Case::new("pack", &["bzip2", "-k", "in"]).file("in", Mixed(500_000)),
            Case::new("unpack", &["bzip2", "-dc", "in.bz2"])
                .file("in", Mixed(500_000))
                .prepare("bzip2 in"),
        ],
    )
}

fn xz() -> Vec<Case> {
    in_package(
        "xz-utils",
        [
            Case::new("pack", &["xz", "-T1", "-k", "in"]).file("in", Mixed(500_000)),
            Case::new("unpack", &["xz", "-T1", "-dc", "in.xz"])
                .file("in", Mixed(500_000))
                .prepare("xz -T1 in"),
            Case::new("lzma", &["xz", "-T1", "--format=lzma", "-c"]).stdin(Mixed(100_000)),
            Case::new("list", &["xz", "--robot", "-l", "in.xz"])
                .file("in", Mixed(100_000))
                .prepare("xz -T1 in"),
        ],
    )
}

fn zstd() -> Vec<Case> {
    const ONE: [&str; 4] = ["zstd", "-q", "--single-thread", "--no-asyncio"];
    let with = |name, more: &[&str]| Case::new(name, &[&ONE, more].concat());
    in_package(
        "zstd",
        [
            with("pack", &["-k", "in"]).file("in", Mixed(900_000)),
            with("pack-19", &["-19", "-c", "in"]).file("in", Mixed(300_000)),
            with("unpack", &["-dc", "in.zst"])
                .file("in", Mixed(900_000))
                .prepare("zstd -q in"),
        ],
    )
}

fn others() -> Vec<Case> {
    let mut cases = in_package(
        "lz4",
        [
            Case::new("pack", &["lz4", "-q", "-c"]).stdin(Mixed(900_000)),
            Case::new("unpack", &["lz4", "-q", "-dc", "in.lz4"])
                .file("in", Mixed(90_000))
                .prepare("lz4 -q in in.lz4"),
        ],
    );
    cases.extend(in_package(
        "cpio",
        [
            Case::new("extract", &["cpio", "-idm", "--quiet", "-F", "in.cpio"])
                .file("in", Mixed(50_000))
                .prepare("echo in | cpio -o --quiet --reproducible -H newc > in.cpio; rm in"),
        ],
    ));
    cases.extend(in_package(
        "zip",
        [
            Case::new("pack", &["zip", "-X", "-q", "-r", "out.zip", "in"])
                .file("in", Mixed(90_000)),
        ],
    ));
    cases.extend(in_package(
        "unzip",
        [
            Case::new("test", &["unzip", "-t", "in.zip"])
                .file("in", Mixed(90_000))
                .prepare("zip -q in.zip in")
                .ignore_files(),
            Case::new("unpack", &["unzip", "-q", "in.zip"])
                .file("in", Mixed(90_000))
                .prepare("zip -q in.zip in; rm in")
                .ignore_files(),
        ],
    ));
    cases
}

/// Each packs and unpacks a gigabyte in the volume.
fn slow() -> Vec<Case> {
    let big = |name, argv: &[&str]| Case::new(name, argv).file("in", Mixed(GIGABYTE)).slow();
    in_package(
        "gigabyte",
        [
            big("tar-create", &["tar", "--mtime=@0", "-cf", "out.tar", "in"]),
            big("tar-extract", &["tar", "-xf", "in.tar"]).prepare("tar -cf in.tar in; rm in"),
            big("gzip", &["gzip", "-1", "-n", "in"]),
            big("gunzip", &["gzip", "-d", "in.gz"]).prepare("gzip -1 in"),
            big("xz", &["xz", "-T1", "-0", "in"]),
            big("unxz", &["xz", "-T1", "-d", "in.xz"]).prepare("xz -T2 -0 in"),
            big(
                "zstd",
                &[
                    "zstd",
                    "-q",
                    "--single-thread",
                    "--no-asyncio",
                    "--rm",
                    "in",
                ],
            ),
            big(
                "unzstd",
                &["zstd", "-q", "-d", "--no-asyncio", "--rm", "in.zst"],
            )
            .prepare("zstd -q --rm in"),
            big("sha256sum", &["sha256sum", "in"]),
            big("cp", &["cp", "--reflink=never", "in", "out"]),
        ],
    )
}
