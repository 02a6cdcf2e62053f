//! What the kernel says of this process, under the names every Prometheus client library uses.
//! Linux only (proc(5)); elsewhere, and when /proc is out of reach, a figure is left out, never guessed.

use std::fs;

/// Figures of the process; `None` where the kernel did not tell.
#[derive(Debug, Default)]
pub(crate) struct ProcessFigures {
    /// User and system time, in seconds.
    pub(crate) cpu_seconds: Option<f64>,
    /// Resident memory, in octets.
    pub(crate) resident_bytes: Option<f64>,
    /// Open file descriptors.
    pub(crate) open_fds: Option<f64>,
    /// Soft limit on them.
    pub(crate) max_fds: Option<f64>,
    /// When it started, as Unix time in seconds.
    pub(crate) start_time: Option<f64>,
}

impl ProcessFigures {
    /// Reads them now: two small files and a system call or two.
    pub(crate) fn read() -> Self {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text));
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text));
        Self {
            cpu_seconds: stat.as_ref().map(|stat| stat.cpu_ticks as f64 / ticks),
            resident_bytes: stat.as_ref().map(|stat| stat.resident_bytes() as f64),
            open_fds: open_fds().map(|count| count as f64),
            // No limit is an infinite one, as far as a ratio is concerned.
            max_fds: Some(
                rustix::process::getrlimit(rustix::process::Resource::Nofile)
                    .current
                    .map_or(f64::INFINITY, |limit| limit as f64),
            ),
            start_time: boot.zip(stat).map(|(boot, stat)| boot as f64 + stat.start_ticks as f64 / ticks),
        }
    }
}

/// Resident memory of this process in octets, where the kernel tells.
///
/// ```
/// if let Some(octets) = stagedoor_metrics::resident_bytes() {
///     assert!(octets > 100_000, "{octets}");
/// }
/// ```
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text))?;
    Some(stat.resident_bytes())
}

/// The fields of /proc/self/stat used here (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn resident_bytes(&self) -> u64 {
        self.resident_pages * rustix::param::page_size() as u64
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field, the command, is in parentheses and may hold spaces and parentheses.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // `fields[0]` is field 3 of the manual.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)?, resident_pages: field(24)? })
    }
}

/// When the machine started, as Unix time in seconds (`btime`, proc_stat(5)).
fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|time| time.trim().parse().ok())
}

/// Linux 6.2 and later give the count as the size of the directory; before that the size is 0 and the
/// entries are counted, less the descriptor that reads them.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_shifts_no_field() {
        let text = "42 (a) b (c)) S 1 42 42 0 -1 4194304 9 0 0 0 7 5 0 0 20 0 4 0 1234 99999 321 18446744073709551615 1";
        let stat = Stat { cpu_ticks: 12, start_ticks: 1234, resident_pages: 321 };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("42 (cut"), None);
        assert_eq!(Stat::parse("42 (cut) S 1"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_every_figure() {
        let figures = ProcessFigures::read();
        assert!(figures.resident_bytes.is_some_and(|bytes| bytes > 100_000.0), "{figures:?}");
        assert!(figures.open_fds.is_some_and(|count| count >= 3.0), "{figures:?}");
        assert!(figures.max_fds.zip(figures.open_fds).is_some_and(|(max, open)| max >= open));
        assert!(figures.cpu_seconds.is_some());
        // After 2020, and not in the future.
        let now = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs_f64();
        assert!(figures.start_time.is_some_and(|time| time > 1.577e9 && time < now + 60.0), "{figures:?}");
    }
}
