//! Programs that start threads, with one virtual CPU and with two.

use crate::case::{Case, in_package};
use crate::content::Content::{Mixed, Words};

const PYTHON: &str = "/usr/bin/python3";

pub(super) fn cases() -> Vec<Case> {
    let two = |mut case: Case| {
        case.name += "-2";
        case.cpus(2)
    };
    let on_two = programs().into_iter().map(two);
    programs().into_iter().chain(on_two).collect()
}

fn programs() -> Vec<Case> {
    in_package(
        "threaded",
        [
            Case::new("sort", &["sort", "--parallel=2", "in"]).file("in", Words(300_000)),
            Case::new("xz", &["xz", "-T2", "-k", "in"]).file("in", Mixed(3_000_000)),
            Case::new("zstd", &["zstd", "-q", "-T2", "-k", "in"]).file("in", Mixed(3_000_000)),
            Case::new("git-grep", &["git", "grep", "--no-index", "-n", "ring"])
                .file("in", Words(3000)),
            Case::new(
                "python-threads",
                &[
                    PYTHON,
                    "-c",
                    "import threading; t=[threading.Thread(target=print, args=(i,)) for i in range(4)]; [(x.start(), x.join()) for x in t]",
                ],
            ),
            Case::new(
                "python-pool",
                &[
                    PYTHON,
                    "-c",
                    "from concurrent.futures import ThreadPoolExecutor as P; print(list(P(4).map(lambda x: x*x, range(9))))",
                ],
            ),
            Case::new(
                "python-queue",
                &[
                    PYTHON,
                    "-c",
                    "import asyncio; print(asyncio.run(asyncio.to_thread(lambda: 42)))",
                ],
            ),
        ],
    )
}
