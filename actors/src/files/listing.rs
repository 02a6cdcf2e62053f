//! A directory as a page: what lies in it, directories first, names in order.
//!
//! Shows what the service would serve: regular files and directories, links to such below the root, no hidden
//! names. Reads the disk, so it runs on the blocking pool. Invariant: at most [`MOST`] entries.

use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dir, FileType};

use super::target::encode;

/// Entries of a page.
const MOST: usize = 10_000;

struct Entry {
    directory: bool,
    name: Vec<u8>,
    size: u64,
}

/// The page of the directory `fd`, which a client knows as `path` (decoded, for reading only).
pub(super) fn page(fd: impl AsFd, path: &str, hidden: bool, is_root: bool) -> io::Result<String> {
    let mut entries = Vec::new();
    let mut more = false;
    for entry in Dir::read_from(fd.as_fd())? {
        let entry = entry?;
        let name = entry.file_name();
        let octets = name.to_bytes();
        if octets == b"." || octets == b".." || (!hidden && octets.first() == Some(&b'.')) {
            continue;
        }
        // Of what is behind a link; one that leads nowhere is not shown.
        let Ok(stat) = rustix::fs::statat(fd.as_fd(), name, AtFlags::empty()) else { continue };
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

fn escape(text: &str, into: &mut String) {
    for sign in text.chars() {
        match sign {
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
        let page = page(std::fs::File::open(at).unwrap(), "/x<y/", false, false).unwrap();
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
        assert!(page.contains("<p>4 entries</p>"), "{page}");
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
