//! From what is written to what is meant: names resolve, files are there, things fit each other. Says all that does not,
//! and goes on with something harmless in its place; a configuration with a single error is never handed out.

mod disk;
mod listener;
mod route;
mod tls;
mod upstream;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::at::At;
use super::diagnostic::{Code, Severity};
use super::file::{File, Format, LabelMode, Workers};
use super::model::{AccessFormat, AccessLog, Admin, Bind, Config, Drain, Log, Server};
use super::problem::Problem;
use super::read::Finding;
use super::source::{NOWHERE, Span};
use super::tree::{self, Step};
use super::word::Label;
use crate::admin::Token;
use stagedoor_metrics::{LabelMode as RowLabel, TableLimits, TableOptions};

/// See the module.
pub(super) struct Check<'a> {
    /// Where relative paths begin.
    dir: &'a Path,
    now: SystemTime,
    broken: &'a BTreeSet<tree::Path>,
    pub(super) findings: Vec<Finding>,
    /// Files that were looked into.
    pub(super) files: Vec<PathBuf>,
}

impl<'a> Check<'a> {
    pub(super) fn new(dir: &'a Path, broken: &'a BTreeSet<tree::Path>, now: SystemTime) -> Self {
        Self { dir, now, broken, findings: Vec::new(), files: Vec::new() }
    }

    /// Looks at everything.
    pub(super) fn all(&mut self, file: &File) -> Config {
        let server = server(file);
        let admin = self.admin(file);
        let log = self.log(file);
        let listeners = self.listeners(file);
        let upstreams = self.upstreams(file);
        let routes = self.routes(file);
        Config { server, admin, log, tables: tables(file), listeners, upstreams, routes }
    }

    fn find(&mut self, severity: Severity, span: &Span, message: String, problem: Problem) {
        self.findings.push(Finding { severity, span: span.clone(), message, problem });
    }

    fn error(&mut self, span: &Span, message: impl Into<String>, problem: Problem) {
        self.find(Severity::Error, span, message.into(), problem);
    }

    fn warning(&mut self, span: &Span, message: impl Into<String>, problem: Problem) {
        self.find(Severity::Warning, span, message.into(), problem);
    }

    /// Nothing was taken out of this table, so what is missing was never there.
    fn is_whole(&self, table: &str, index: usize) -> bool {
        let head = [Step::Key(table.to_owned()), Step::Index(index)];
        !self.broken.iter().any(|path| path.starts_with(&head) || *path == head[..1])
    }

    fn admin(&mut self, file: &File) -> Admin {
        let bind = file.admin.bind.0.clone();
        let token_file = file.admin.token_file.as_ref().map(|token| {
            if let Some(octets) = self.read_file("admin.token_file", token)
                && let Err(label) = Token::read(&String::from_utf8_lossy(&octets))
            {
                self.error(
                    &token.span,
                    "admin.token_file holds no token",
                    Problem::new(Code::BadFile, "", label),
                );
            }
            self.path(token)
        });
        let lost = self.broken.iter().any(|path| tree::written(path) == "admin.token_file");
        if let Some(Bind::Tcp(address)) = &bind
            && !address.ip().is_loopback()
            && token_file.is_none()
            && !lost
        {
            let problem = Problem::new(Code::ExposedAdmin, "", "not a loopback address")
                .help("name a file with a token: token_file = \"/etc/stagedoor/token\"");
            let message = "the admin address can be reached from elsewhere and asks for no token";
            self.error(&file.admin.bind.span, message, problem);
        }
        Admin { bind, token_file }
    }

    fn log(&mut self, file: &File) -> Log {
        let access = &file.log.access;
        let format = match access.format {
            Format::Json => Some(AccessFormat::Json),
            Format::Common => Some(AccessFormat::Common),
            Format::Combined => Some(AccessFormat::Combined),
            Format::Off => None,
        };
        let access = format.map(|format| {
            let path = (access.path.0 != "-").then(|| {
                self.directory_of("log.access.path", &access.path);
                self.path(&access.path)
            });
            let redact = access.redact.iter().map(|name| name.0.clone()).collect();
            AccessLog { format, path, redact, show_query: access.show_query }
        });
        Log { level: file.log.level.0.clone(), access }
    }

    /// The name of a table, which must be there and be its own. `None` where it was said already what is wrong.
    fn name(
        &mut self,
        table: &str,
        index: usize,
        span: &Span,
        name: Option<&At<Label>>,
        seen: &mut BTreeSet<String>,
    ) -> String {
        let Some(name) = name else {
            if self.is_whole(table, index) {
                let problem = Problem::new(Code::MissingKey, "", "name is missing")
                    .help(format!("every {table} has a name of its own: name = \"...\""));
                self.error(span, format!("{table} {} has no name", index + 1), problem);
            }
            return format!("{table} {}", index + 1);
        };
        if !seen.insert(name.0.clone()) {
            let problem = Problem::new(Code::DuplicateName, "", "this name is taken")
                .help("names are told apart by case, and each is used once");
            self.error(&name.span, format!("there are two {table}s with the name {:?}", name.0), problem);
        }
        name.0.clone()
    }

    /// A key that must be there.
    fn missing(&mut self, table: &str, index: usize, span: &Span, whose: &str, key: &str, help: &str) {
        if self.is_whole(table, index) {
            let problem = Problem::new(Code::MissingKey, "", format!("{key} is missing")).help(help);
            self.error(span, format!("{whose} has no {key}"), problem);
        }
    }

    /// An authority: a host, with a port where it has one.
    fn authority(&mut self, whose: &str, text: &str, span: &Span) {
        let good = text.parse::<http::uri::Authority>().is_ok_and(|authority| {
            !authority.host().is_empty()
                && !text.contains('@')
                && (authority.port_u16().is_some() || !text.ends_with(':'))
        });
        if !good {
            let problem = Problem::new(Code::BadHost, "", "not a host")
                .help("a host looks like example.org, with a port example.org:8443");
            self.error(span, format!("{whose} is not a host"), problem);
        }
    }
}

fn server(file: &File) -> Server {
    Server {
        workers: match file.server.workers.value {
            Workers::Auto => None,
            Workers::Number(number) => Some(number),
        },
        drain: Drain { min_accept: file.server.drain.min_accept.0, timeout: file.server.drain.timeout.0 },
        trusted_proxies: file.server.trusted_proxies.iter().map(|block| block.0).collect(),
        dns_servers: file.server.dns_servers.iter().map(|server| server.0).collect(),
    }
}

fn tables(file: &File) -> TableOptions {
    let (sessions, streams) = (&file.metrics.sessions, &file.metrics.streams);
    TableOptions {
        label_mode: match sessions.label_mode {
            LabelMode::Id => RowLabel::Id,
            LabelMode::Slot => RowLabel::Slot,
            LabelMode::Off => RowLabel::Off,
        },
        sessions: TableLimits {
            cap: sessions.max.0 as usize,
            min_age: sessions.min_age.0,
            new_per_minute: sessions.new_per_minute.0 as usize,
        },
        streams: TableLimits {
            cap: streams.max.0 as usize,
            min_age: streams.min_age.0,
            new_per_minute: streams.new_per_minute.0 as usize,
        },
        ..TableOptions::default()
    }
}

/// How a table of a list is called: by its name, else by its number.
fn whose(table: &str, index: usize, name: Option<&At<Label>>) -> String {
    match name {
        Some(name) => format!("{table} {:?}", name.0),
        None => format!("{table} {}", index + 1),
    }
}

/// The first place somebody wrote.
fn first_written<'s>(spans: impl IntoIterator<Item = &'s Span>) -> Span {
    spans.into_iter().find(|span| **span != NOWHERE).cloned().unwrap_or(NOWHERE)
}
