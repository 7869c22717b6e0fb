//! The file server, through the whole stack: a guest walks a volume while the host's side
//! swaps directories, links and the volume itself. A secret outside is never read, and
//! nothing outside is ever written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::machine::{Bench, last_line};
use crate::{Case, Verdict};

const SECRET: &str = "the secret outside";
/// Beyond the walk itself.
const SLACK: Duration = Duration::from_secs(20);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("files/swapped-directories", |bench| race(bench, swaps)),
        Case::new("files/swapped-volume", |bench| race(bench, volume_swaps)),
    ]
}

/// The places of one race: the machine's root and volume, and what lies beside them.
struct Places {
    root: PathBuf,
    volume: PathBuf,
    outside: PathBuf,
}

impl Places {
    fn make(bench: &Bench) -> Result<Self> {
        let base = bench.folder()?;
        let [root, volume, outside] = ["root", "volume", "outside"].map(|name| base.join(name));
        for folder in [
            &root,
            &outside.join("deep"),
            &volume.join("swap/deep"),
            &volume.join("nest/inner"),
        ] {
            fs::create_dir_all(folder)?;
        }
        fs::copy(bench.program("walker")?, root.join("walker"))?;
        for place in [outside.join("secret"), outside.join("deep/secret")] {
            fs::write(place, SECRET)?;
        }
        for place in [
            "swap/secret",
            "swap/deep/secret",
            "nest/inner/secret",
            "file",
        ] {
            fs::write(volume.join(place), "nothing")?;
        }
        symlink(&outside, volume.join("link"))?;
        symlink("../outside", volume.join("up"))?;
        symlink("/outside", volume.join("absolute"))?;
        symlink("/proc/self/root", volume.join("magic"))?;
        Ok(Self {
            root,
            volume,
            outside,
        })
    }

    /// Fails if anything outside is not as it was made.
    fn check_outside(&self) -> Result<()> {
        let mut names: Vec<_> = fs::read_dir(&self.outside)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        ensure!(names == ["deep", "secret"], "outside there is {names:?}");
        for place in ["secret", "deep/secret"] {
            let content = fs::read_to_string(self.outside.join(place))?;
            ensure!(content == SECRET, "{place} outside is now {content:?}");
        }
        Ok(())
    }
}

/// Two names that change places all the time.
type Swaps = fn(&Places) -> Result<Vec<(PathBuf, PathBuf)>>;

/// A directory and a link to the outside; a file and a link; a directory one deeper.
fn swaps(places: &Places) -> Result<Vec<(PathBuf, PathBuf)>> {
    let beside = places.volume.with_file_name("beside");
    fs::create_dir(&beside)?;
    symlink(&places.outside, beside.join("swap"))?;
    symlink("../../outside/deep", beside.join("inner"))?;
    symlink(places.outside.join("secret"), beside.join("file"))?;
    let pair = |inside: &str, name: &str| (places.volume.join(inside), beside.join(name));
    Ok(vec![
        pair("swap", "swap"),
        pair("file", "file"),
        pair("nest/inner", "inner"),
    ])
}

/// The volume itself and the outside, or a link to it.
fn volume_swaps(places: &Places) -> Result<Vec<(PathBuf, PathBuf)>> {
    let link = places.volume.with_file_name("other");
    symlink(&places.outside, &link)?;
    Ok(vec![(places.volume.clone(), link)])
}

fn race(bench: &Bench, swaps: Swaps) -> Result<Verdict> {
    let places = Places::make(bench)?;
    let arguments = [
        "--root".to_owned(),
        places.root.display().to_string(),
        format!("--volume={}:/v", places.volume.display()),
        "/walker".to_owned(),
        bench.seconds.to_string(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut running = bench.start(&arguments)?;
    running.wait_for("walking")?;
    let swapper = Swapper::start(swaps(&places)?);
    let ended = running.end_within(Duration::from_secs(bench.seconds) + SLACK);
    let count = swapper.stop()?;
    let ended = ended?;
    let said = last_line(&ended.stdout);
    ensure!(
        ended.status == 0 && said.contains("secrets 0"),
        "status {}: {said} {}",
        ended.status,
        ended.stderr
    );
    ensure!(count > 0, "nothing was swapped");
    places.check_outside()?;
    Ok(Verdict::Passed(format!("{said}, {count} swaps")))
}

/// The attacker on the host's side.
struct Swapper {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Swapper {
    fn start(pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    // A name below another that is swapped away is missing at times.
                    let done = exchange(one, other).is_ok();
                    counter.fetch_add(u64::from(done), Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        Self {
            stop,
            count,
            thread,
        }
    }

    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.join().ok();
        joined.context("the swapping thread panicked")?;
        Ok(self.count.load(Ordering::Relaxed))
    }
}

fn exchange(one: &Path, other: &Path) -> rustix::io::Result<()> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}
