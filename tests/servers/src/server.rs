//! A server of the table: how it is started, asked, put under load, ended.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::needs::Need;
use crate::site::{Place, Site};
use serving::load::Served;
use serving::machine::Machine;

/// Between the last answer and the end.
const REST: Duration = Duration::from_millis(300);

/// A server that somebody else wrote.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    /// Of its machine.
    pub(crate) memory: &'static str,
    /// The words of its command line, with what [`Site::fill`] replaces.
    pub(crate) command: &'static [&'static str],
    /// Files in its folder, with the same.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// What else must be made.
    pub(crate) prepare: fn(&Site<'_>) -> Result<()>,
    /// Succeeds when it answers.
    pub(crate) ready: fn(&Site<'_>) -> Result<()>,
    pub(crate) load: fn(&Site<'_>) -> Result<Served>,
    /// After `SIGTERM`, as a shell counts: its own, as natively.
    pub(crate) status: i32,
    /// Some end by whichever of two threads comes first, natively, too: the other's.
    pub(crate) status_in_race: Option<i32>,
    /// Some look whether they are process 1, as in every machine, and end otherwise then.
    pub(crate) status_as_first: Option<i32>,
}

impl Server {
    /// Its whole life.
    ///
    /// # Errors
    /// Whatever went wrong.
    pub(crate) fn run(&self, site: &Site<'_>) -> Result<Served> {
        let mut machine = self.start(site)?;
        machine.wait_ready(|| (self.ready)(site))?;
        let served = (self.load)(site);
        let served = served.and_then(|served| served.check().map(|()| served));
        if site.options.verbose {
            println!("{}: {}", self.name, machine.said());
        }
        let said = || format!("it said: {}", serving::machine::tail(&machine.said()));
        let served = served.with_context(said)?;
        // Some end otherwise while a connection is open: it shall notice that all are gone.
        std::thread::sleep(REST);
        machine.end_as_one_of(&self.statuses_at(site.place))?;
        Ok(served)
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the host cannot.
    pub(crate) fn start(&self, site: &Site<'_>) -> Result<Machine> {
        for (name, text) in self.files {
            let path = site.path(name);
            fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            fs::write(path, site.fill(text))?;
        }
        (self.prepare)(site).context("preparing")?;
        let mut words: Vec<String> = self.command.iter().map(|word| site.fill(word)).collect();
        if let Some(program) = words.first_mut() {
            let found = vocabulary::find_program(program).context("the program is gone")?;
            *program = found.to_string_lossy().into_owned();
        }
        site.start(&["--memory", self.memory], words)
    }

    fn statuses_at(&self, place: Place) -> Vec<i32> {
        let first = match place {
            Place::Native => self.status,
            Place::Machine(_) => self.status_as_first.unwrap_or(self.status),
        };
        std::iter::once(first).chain(self.status_in_race).collect()
    }

    /// In a machine, and natively for the ratio if that is wanted.
    ///
    /// # Errors
    /// Whatever went wrong in the machine, or natively.
    pub(crate) fn measure(&self, site: &Site<'_>) -> Result<Served> {
        let served = self.run(site)?;
        if !site.options.native || site.place == Place::Native {
            return Ok(served);
        }
        let native = Site::new(site.options, Place::Native)?;
        let native = self.run(&native).context("natively")?.rate();
        let ratio = served.rate() / native;
        let remark = format!(
            "natively {native:.0}/s, ratio {ratio:.2}; {}",
            served.remark
        );
        Ok(served.saying(remark.trim_end_matches("; ")))
    }
}
