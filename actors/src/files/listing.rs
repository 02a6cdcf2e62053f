//! A directory as a page: what lies in it, directories first, names in order.
//!
//! Shows what the service would serve: regular files and directories, links to such where links are followed and
//! lead there below the root, no hidden names, none that no path can say. Reads the disk, so it runs on the blocking
//! pool. Invariants: at most [`MOST`] entries, and nothing is said of what lies outside of the root.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Stat};

use super::open::{Symlinks, look_beneath};
use super::target::encode;

/// Entries of a page.
const MOST: usize = 10_000;

struct Entry {
    directory: bool,
    name: Vec<u8>,
    size: u64,
}

/// Where the root is that holds a directory, and what becomes of links.
pub(super) struct Place<'a> {
    pub(super) root: &'a OwnedFd,
    /// The directory below it.
    pub(super) below: &'a Path,
    pub(super) symlinks: Symlinks,
}

impl Place<'_> {
    /// What the service would find under a name of the directory `fd`; nothing where it would serve nothing.
    fn look(&self, fd: impl AsFd, name: &OsStr) -> Option<Stat> {
        let stat = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Some(stat);
        }
        look_beneath(self.root, &self.below.join(name), self.symlinks).ok()
    }
}

/// The page of the directory `fd`, which lies at `place` and which a client knows as `path` (decoded, for reading only).
pub(super) fn page(
    fd: impl AsFd,
    place: &Place<'_>,
    path: &str,
    hidden: bool,
    is_root: bool,
) -> io::Result<String> {
    let mut entries = Vec::new();
    let mut more = false;
    for entry in Dir::read_from(fd.as_fd())? {
        let entry = entry?;
        let octets = entry.file_name().to_bytes();
        if octets == b"." || octets == b".." || (!hidden && octets.first() == Some(&b'.')) {
            continue;
        }
        if octets.contains(&b'\\') {
            continue;
        }
        let Some(stat) = place.look(fd.as_fd(), OsStr::from_bytes(octets)) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !matches!(kind, FileType::Directory | FileType::RegularFile) {
            continue;
        }
        if entries.len() == MOST {
            more = true;
            break;
        }
        let (directory, size) = (kind == FileType::Directory, u64::try_from(stat.st_size).unwrap_or(0));
        entries.push(Entry { directory, name: octets.to_vec(), size });
    }
    entries.sort_unstable_by(|a, b| (!a.directory, &a.name).cmp(&(!b.directory, &b.name)));
    Ok(render(&entries, path, is_root, more))
}

fn render(entries: &[Entry], path: &str, is_root: bool, more: bool) -> String {
    let mut page = String::with_capacity(512 + entries.len() * 96);
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.push_str("<meta name=\"color-scheme\" content=\"light dark\"><title>");
    escape(path, &mut page);
    page.push_str("</title></head>\n<body>\n<h1>");
    escape(path, &mut page);
    page.push_str("</h1>\n<table>\n");
    if !is_root {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td></tr>\n");
    }
    for Entry { directory, name, size } in entries {
        let slash = if *directory { "/" } else { "" };
        // With `./` before it a name like `a:b` is no scheme.
        page.push_str("<tr><td><a href=\"./");
        encode(name, &mut page);
        page.push_str(slash);
        page.push_str("\">");
        escape(&String::from_utf8_lossy(name), &mut page);
        page.push_str(slash);
        page.push_str("</a></td><td align=\"right\">");
        if !directory {
            page.push_str(&readable(*size));
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</table>\n");
    let count = entries.len();
    let _ = match (more, count) {
        (true, _) => writeln!(page, "<p>the first {count} entries; there are more</p>"),
        (false, 1) => writeln!(page, "<p>1 entry</p>"),
        (false, _) => writeln!(page, "<p>{count} entries</p>"),
    };
    page.push_str("</body>\n</html>\n");
    page
}

/// As text of a page. What would move or turn the text around it is shown as the sign for what cannot be shown.
fn escape(text: &str, into: &mut String) {
    for sign in text.chars() {
        match sign {
            sign if sign.is_control() => into.push('\u{fffd}'),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                into.push('\u{fffd}')
            }
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            sign => into.push(sign),
        }
    }
}

/// A size as people read it.
fn readable(octets: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if octets < 1024 {
        return format!("{octets} B");
    }
    let mut size = octets as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::open::{How, open_root};
    use super::*;

    #[test]
    fn names_are_escaped_sorted_and_linked() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        for name in ["b", "a:b", "<img src=x>\"'&", ".hidden"] {
            std::fs::write(at.join(name), "12").unwrap();
        }
        std::fs::create_dir(at.join("z")).unwrap();
        std::os::unix::fs::symlink("nowhere", at.join("broken")).unwrap();
        std::os::unix::fs::symlink("b", at.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at.join("out")).unwrap();
        std::os::unix::fs::symlink("..", at.join("above")).unwrap();
        std::fs::write(at.join("back\\slash"), "12").unwrap();
        let root = open_root(at, How::Blocking).unwrap();
        let place = Place { root: &root, below: Path::new(""), symlinks: Symlinks::Within };
        let page = page(std::fs::File::open(at).unwrap(), &place, "/x<y/", false, false).unwrap();
        assert!(page.contains("<title>/x&lt;y/</title>") && page.contains("href=\"../\""), "{page}");
        assert!(!page.contains("<img") && !page.contains(".hidden") && !page.contains("broken"), "{page}");
        assert!(
            page.contains("<a href=\"./%3Cimg%20src%3Dx%3E%22%27%26\">&lt;img src=x&gt;&quot;&#39;&amp;</a>")
        );
        assert!(page.contains("<a href=\"./a%3Ab\">a:b</a>"), "{page}");
        let place = |text: &str| page.find(text).unwrap();
        assert!(
            place("./z/") < place("./%3C")
                && place("./%3C") < place("./a%3A")
                && place("./a%3A") < place("./b\"")
        );
        assert!(page.contains("<p>5 entries</p>") && page.contains("./link\""), "{page}");
        assert!(!page.contains("back"), "no path can say it");
        assert!(!page.contains("./out") && !page.contains("./above"), "not even that it is there");
    }

    #[test]
    fn sizes_are_readable() {
        for (octets, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(readable(octets), text);
        }
    }
}
