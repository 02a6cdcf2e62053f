//! What the kernel knows of a process: CPU time, resident memory, open files (proc(5)).

use std::{fs, io};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A process looked at from outside, by its id.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    pid: u32,
}

impl Observed {
    /// Looks at the process with this id; nothing is read yet.
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Nanoseconds on a core so far, user and system, of all threads that live.
    ///
    /// # Errors
    /// When the process is gone, or the kernel keeps no schedstat.
    pub fn cpu_nanos(self) -> Result<u64> {
        let mut sum = 0;
        let tasks = format!("/proc/{}/task", self.pid);
        for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            let path = task?.path().join("schedstat");
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                // a thread that ended since the folder was listed
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            };
            let on_cpu = text.split_whitespace().next().context("empty schedstat")?;
            sum += on_cpu.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// KiB resident now.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_kib(self) -> Result<u64> {
        self.status_kib("VmRSS:")
    }

    /// KiB resident at the peak, since the start or the last [`Observed::forget_peak`].
    ///
    /// # Errors
    /// When the process is gone.
    pub fn peak_kib(self) -> Result<u64> {
        self.status_kib("VmHWM:")
    }

    /// Starts the peak anew at what is resident now.
    ///
    /// # Errors
    /// When the process is gone or belongs to somebody else.
    pub fn forget_peak(self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.pid);
        fs::write(&path, "5").context(path)
    }

    fn status_kib(self, key: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let text = fs::read_to_string(&path).context(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let value = line.and_then(|rest| rest.split_whitespace().next());
        Ok(value.with_context(|| format!("no {key} of process {}", self.pid))?.parse()?)
    }
}

/// Raises the soft limit of open files to the hard one, for us and our children, and returns it.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_open_files() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_have_used_some_time_and_memory() {
        let us = Observed::new(std::process::id());
        assert!(us.resident_kib().unwrap() > 0);
        assert!(us.peak_kib().unwrap() >= us.resident_kib().unwrap() / 2);
        us.cpu_nanos().unwrap();
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Observed::new(u32::MAX).cpu_nanos().is_err());
    }
}
