//! `files DIR`: a directory served as `serve` serves the demo. Says what is wrong with the directory; all else
//! is `serve.rs`.

use std::io;

use stagedoor::files::Directory;

use crate::cli::FilesArgs;
use crate::failure::{Exit, Failure};
use crate::listen::{AdminPlan, Wanted};
use crate::serve::{Content, Site};

/// What `files` serves, and where.
///
/// # Errors
/// A directory that cannot be served.
pub(crate) fn site(args: &FilesArgs) -> Result<Site, Failure> {
    let shown = args.dir.display();
    // Serving needs a directory that may be entered, listing one that may be read; people mean both.
    std::fs::read_dir(&args.dir).map_err(|error| {
        let (what, way_out) = match error.kind() {
            io::ErrorKind::NotFound => ("there is none".to_owned(), "name a directory that exists"),
            io::ErrorKind::NotADirectory => {
                ("it is no directory".to_owned(), "name the directory the file lies in")
            }
            io::ErrorKind::PermissionDenied => (
                "it may not be read".to_owned(),
                "give yourself the right to read and enter it, or name another",
            ),
            _ => (error.to_string(), "name another directory"),
        };
        Failure::new(Exit::Input, format!("cannot serve the directory {shown}: {what}")).with_way_out(way_out)
    })?;
    let failed = |error: io::Error| {
        Failure::new(Exit::Input, format!("cannot serve the directory {shown}: {error}"))
            .with_way_out("name another directory")
    };
    // Absolute, for the banner and for a root that is looked up again.
    let root = std::path::absolute(&args.dir).map_err(failed)?;
    let directory = Directory::open(&root).map_err(failed)?.listing(args.listing);
    Ok(Site {
        content: Content::Files { root, listing: args.listing, directory },
        wanted: Wanted {
            public: args.listen,
            public_flag: "--listen",
            plain: args.serving.plain,
            admin: args.serving.admin.map_or(AdminPlan::None, AdminPlan::At),
        },
        workers: args.serving.workers,
        logs: args.serving.logs.clone(),
        token: args.serving.admin_token.clone(),
        observed: true,
    })
}
